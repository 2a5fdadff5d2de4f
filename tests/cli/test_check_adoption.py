"""scripts/check-adoption: names what is left to change in a made-up checkout, and only that."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sessionbase.paths import PROJECT_DIR

SCRIPT = PROJECT_DIR / "scripts/check-adoption"


def check(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def checkout(folder: Path, **files: str) -> Path:
    """Write a checkout's files; `__` in a name is a slash, `_ts` and the like the suffix."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def places(done: subprocess.CompletedProcess[str], folder: Path) -> list[str]:
    """The FILE:LINE of each line printed, relative to the checkout."""
    assert done.stderr in {"", f"check-adoption: {len(done.stdout.splitlines())} places are left\n"}
    lines = done.stdout.splitlines()
    return [line.removeprefix(f"{folder}/").split(": ")[0] for line in lines]


TODOS_IN_MEMORY = """\
// The list.
const todos = new Map<string, Todo>()
export function listTodos() {
  return [...todos.values()]
}
"""


def test_each_place_that_is_left_is_named_with_its_line_and_what_to_do(tmp_path: Path) -> None:
    checkout(
        tmp_path,
        src__server__chatToolEvents_ts="""\
import { readFile } from 'node:fs/promises'
const FILE = 'data/chat-tool-events.json'
let cached: ChatToolEvent[] = []
export async function listChatToolEvents(sessionId: string) {
  cached = JSON.parse(await readFile(FILE, 'utf8'))
}
""",
        src__server__todosStore_ts=TODOS_IN_MEMORY,
        src__routes__todos_tsx="""\
import {
  listTodos as list,
} from '~/server/todosStore'
const store = await import("../server/sessionRepoBindings")
""",
        src__db__collections_ts="""\
import { createCollection, localOnlyCollectionOptions } from '@tanstack/react-db'
export const a = createCollection(
  localOnlyCollectionOptions({ id: 'misalignments', getKey: (m) => m.id }),
)
export const uiSettings = createCollection(
  localStorageCollectionOptions({ id: 'settings', getKey: (s) => s.id }),
)
""",
        Dockerfile="FROM node\nCOPY data/chat-tool-events.json /app/data/\n",
    )
    done = check(tmp_path)
    assert done.returncode == 1
    assert places(done, tmp_path) == [
        "Dockerfile:2",
        "src/db/collections.ts:3",
        "src/db/collections.ts:6",
        "src/routes/todos.tsx:1",
        "src/routes/todos.tsx:4",
        "src/server/chatToolEvents.ts:2",
        "src/server/chatToolEvents.ts:3",
        "src/server/chatToolEvents.ts:5",
        "src/server/todosStore.ts:2",
    ]
    lines = done.stdout.splitlines()
    assert "sessionbase import tool-events" in lines[0]
    assert "use sessionbase/misalignments" in lines[1]
    assert "sessionbase/guest-settings" in lines[2]
    assert "import from 'sessionbase/todosStore'" in lines[3]
    assert "import from 'sessionbase/sessionRepoBindings'" in lines[4]
    assert "'sessionbase/todosStore' keeps it" in lines[8]


CLEAN = {
    "src__server__todos_ts": """\
import { addTodo as store, listTodos as list } from 'sessionbase/todosStore'
export const listTodos = createServerFn().handler(async () => {
  const seen = new Map()
  return list()
})
export const addTodo = createServerFn().handler(({ data }) => store(data))
""",
    "src__server__misalignments_server_ts": "export * from 'sessionbase/misalignments'\n",
    "src__server__index_ts": "export * from './misalignments.server'\n",
    "src__routes__todos_tsx": "import { addTodo } from '~/server/todos'\nconst open = new Map()\n",
    "src__server__prompt_ts": "import { listMisalignments } from '.'\n",
    "src__server__settings_ts": """\
import { uiSettingsStore } from 'sessionbase'
const { loadUiSettings } = uiSettingsStore
export { loadUiSettings }
""",
    "src__routes__settings_tsx": "import { loadUiSettings } from '../server/settings'\n",
    "src__routes__chat_tsx": "import { listMisalignments } from '~/server'\n",
    "src__db__drafts_ts": "export const d = localOnlyCollectionOptions({ id: 'drafts' })\n",
    "README_md": "It used to write data/chat-tool-events.json.\n",
}


def test_a_checkout_that_has_been_moved_is_clean(tmp_path: Path) -> None:
    done = check(checkout(tmp_path, **CLEAN))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("folder", ["node_modules", ".git", "dist", ".output"])
def test_what_was_installed_or_built_is_not_searched(tmp_path: Path, folder: str) -> None:
    (tmp_path / "app" / folder).mkdir(parents=True)
    (tmp_path / "app" / folder / "todosStore.ts").write_text(TODOS_IN_MEMORY)
    assert check(tmp_path).returncode == 0
    (tmp_path / "app" / folder).rename(tmp_path / "app" / "src")
    assert check(tmp_path).returncode == 1


def test_a_file_that_passes_on_what_an_old_module_keeps_is_not_clean(tmp_path: Path) -> None:
    checkout(
        tmp_path,
        src__todosStore_ts=TODOS_IN_MEMORY,
        src__index_ts="export * from './todosStore'\n",
        src__page_tsx="import { listTodos } from '.'\n",
    )
    assert places(check(tmp_path), tmp_path) == [
        "src/index.ts:1",
        "src/page.tsx:1",
        "src/todosStore.ts:2",
    ]


def test_an_old_module_without_a_known_kind_of_store_is_named_by_its_first_function(
    tmp_path: Path,
) -> None:
    text = "\nexport async function saveUiSettings(id, s) {\n  await kv.set(id, s)\n}\n"
    checkout(tmp_path, src__uiSettingsStore_ts=text)
    assert places(check(tmp_path), tmp_path) == ["src/uiSettingsStore.ts:2"]


def test_a_map_at_the_top_of_a_module_that_was_moved_is_still_a_store(tmp_path: Path) -> None:
    text = "import { listTodos as l } from 'sessionbase/todosStore'\nconst cache = new Map()\n"
    checkout(tmp_path, src__todosStore_ts=text + "export const listTodos = () => l()\n")
    assert places(check(tmp_path), tmp_path) == ["src/todosStore.ts:2"]


def test_odd_file_names_stay_on_their_line(tmp_path: Path) -> None:
    odd = tmp_path / "a b\n$(c)'\u200b.ts"
    odd.write_text("open('chat-tool-events.json')")
    (tmp_path / "-rf.ts").write_text("open('chat-tool-events.json')")
    (tmp_path / "binary").write_bytes(b"\0chat-tool-events.json")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.ts").symlink_to(tmp_path / "nowhere")
    done = check(tmp_path)
    assert places(done, tmp_path) == ["-rf.ts:1", "a b\\n$(c)'\\u200b.ts:1"]


def test_without_a_folder_the_current_one_is_searched(tmp_path: Path) -> None:
    checkout(tmp_path, src__todosStore_ts=TODOS_IN_MEMORY)
    done = check(cwd=tmp_path)
    assert (done.returncode, done.stdout.split(": ")[0]) == (1, "src/todosStore.ts:2")


@pytest.mark.parametrize("arguments", [["a", "b"], ["--nonsense"], ["no-such-folder"]])
def test_wrong_usage_exits_with_2_and_says_why(tmp_path: Path, arguments: list[str]) -> None:
    done = check(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("check-adoption: ")


def test_it_runs_by_its_name_and_its_help_has_an_example() -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Example: " in done.stdout


def test_the_page_and_the_script_name_every_function_that_the_package_replaces() -> None:
    page = (PROJECT_DIR / "docs/adopting.md").read_text(encoding="utf-8")
    script = SCRIPT.read_text(encoding="utf-8")
    new = {"patchUiSettings", "loadUiSettingsWithRevision"}
    modules = "chatToolEvents hookifyDecisions misalignments todosStore sessionRepoBindings"
    for module in [*modules.split(), "uiSettingsStore"]:
        source = PROJECT_DIR / f"clients/typescript/src/{module}.ts"
        exports = re.findall(
            r"^export (?:async )?function (\w+)", source.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert exports
        for name in exports:
            assert f"`{name}(" in page, name
            assert name in new or re.search(rf"\b{name}\b", script), name
        assert f"from 'sessionbase/{module}'" in page
