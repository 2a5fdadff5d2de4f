"""A throwaway PostgreSQL cluster: created for one command, and deleted at its end."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sessionbase.stack import postgres
from sessionbase.stack.account import choose_home, choose_socket_dir, service_account
from sessionbase.state import Secrets, StackConfig, dba_uri


@contextmanager
def scratch_cluster(settings: dict[str, str] | None = None) -> Iterator[str]:
    """Create and start an empty cluster; yield its superuser's URI, and delete the cluster.

    `settings` are those of the server that differ from the defaults.
    The URI names an empty database `sessionbase`. The programs are those that
    SESSIONBASE_POSTGRES_BIN names, else the embedded ones. The server has only a Unix socket.
    Raises SessionbaseError if it can't be created or started.
    """
    account = service_account()
    with tempfile.TemporaryDirectory(prefix="sessionbase-scratch-") as name:
        folder = Path(name)
        home = choose_home(folder, account)
        stack_config = StackConfig(home, choose_socket_dir(home))
        secrets = Secrets.generate(None)
        try:
            postgres.start(stack_config, secrets, account, folder / "postgresql.log", settings)
            yield dba_uri(stack_config, secrets)
        finally:
            postgres.stop(stack_config)
            shutil.rmtree(stack_config.socket_dir, ignore_errors=True)
            if home != folder:
                shutil.rmtree(home)
