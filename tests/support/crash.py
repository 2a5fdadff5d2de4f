"""Ends servers like a crash of the machine."""

from pathlib import Path

import psutil

from sessionbase.stack import manage


def kill_postgresql(data_dir: Path) -> None:
    """Kill the PostgreSQL of a stack and all its sessions with SIGKILL, and wait for their end."""
    server = psutil.Process(manage.status(data_dir)["pids"]["postgresql"])
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=60)
