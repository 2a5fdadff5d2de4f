"""scripts/check-adoption reports exactly the lines that must be changed in a checkout."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sessionbase.paths import PROJECT_DIR
from support.domains import DomainFiles

SCRIPT = PROJECT_DIR / "scripts/check-adoption"


def check(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def checkout(folder: Path, **files: str) -> Path:
    """Write the files of a checkout; `__` in a name is a slash, `_` the dot before the suffix."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def places(done: subprocess.CompletedProcess[str], folder: Path) -> list[str]:
    """Return FILE:LINE of each finding, relative to the checkout."""
    lines = done.stdout.splitlines()
    assert done.stderr in {"", f"check-adoption: {len(lines)} places to change\n"}
    return [line.removeprefix(f"{folder}/").split(": ")[0] for line in lines]


TODOS_IN_MEMORY = """\
// The list.
const todos = new Map<string, Todo>()
export function listTodos() {
  return [...todos.values()]
}
"""


def test_each_place_to_change_is_reported_with_its_line_and_what_to_do(tmp_path: Path) -> None:
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
    assert "sessionbase/guestSettings" in lines[2]
    assert "import from 'sessionbase/todos'" in lines[3]
    assert "import from 'sessionbase/sessionRepoBindings'" in lines[4]
    assert "delete this store: use 'sessionbase/todos'" in lines[8]


CLEAN = {
    "src__server__todos_ts": """\
import { addTodo as store, listTodos as list } from 'sessionbase/todos'
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
import { uiSettings } from 'sessionbase'
const { loadUiSettings } = uiSettings
export { loadUiSettings }
""",
    "src__server__todosStore_ts": "export * from 'sessionbase/todos'\n",
    "src__routes__list_tsx": "import * as store from '../server/todosStore'\n",
    "src__routes__settings_tsx": "import { loadUiSettings } from '../server/settings'\n",
    "src__routes__chat_tsx": "import { listMisalignments } from '~/server'\n",
    "src__db__drafts_ts": "export const d = localOnlyCollectionOptions({ id: 'drafts' })\n",
    "README_md": "It used to write data/chat-tool-events.json.\n",
}


def test_nothing_is_reported_for_an_adopted_checkout(tmp_path: Path) -> None:
    done = check(checkout(tmp_path, **CLEAN))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("folder", ["node_modules", ".git", "dist", ".output"])
def test_installed_and_built_files_are_not_searched(tmp_path: Path, folder: str) -> None:
    (tmp_path / "app" / folder).mkdir(parents=True)
    (tmp_path / "app" / folder / "todosStore.ts").write_text(TODOS_IN_MEMORY)
    assert check(tmp_path).returncode == 0
    (tmp_path / "app" / folder).rename(tmp_path / "app" / "src")
    assert check(tmp_path).returncode == 1


def test_a_file_that_reexports_a_replaced_module_is_reported(tmp_path: Path) -> None:
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


def test_a_replaced_module_without_a_known_store_is_reported_at_its_first_function(
    tmp_path: Path,
) -> None:
    text = "\nexport async function saveUiSettings(id, s) {\n  await kv.set(id, s)\n}\n"
    checkout(tmp_path, src__uiSettingsStore_ts=text)
    assert places(check(tmp_path), tmp_path) == ["src/uiSettingsStore.ts:2"]


def test_a_map_at_the_top_level_of_an_adopted_module_is_reported(tmp_path: Path) -> None:
    text = "import { listTodos as l } from 'sessionbase/todos'\nconst cache = new Map()\n"
    checkout(tmp_path, src__todosStore_ts=text + "export const listTodos = () => l()\n")
    assert places(check(tmp_path), tmp_path) == ["src/todosStore.ts:2"]


def test_a_file_name_with_special_characters_is_printed_on_one_line(tmp_path: Path) -> None:
    odd = tmp_path / "a b\n$(c)'\u200b.ts"
    odd.write_text("open('chat-tool-events.json')")
    (tmp_path / "-rf.ts").write_text("open('chat-tool-events.json')")
    (tmp_path / "binary").write_bytes(b"\0chat-tool-events.json")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.ts").symlink_to(tmp_path / "nowhere")
    done = check(tmp_path)
    assert places(done, tmp_path) == ["-rf.ts:1", "a b\\n$(c)'\\u200b.ts:1"]


def test_the_current_folder_is_the_default(tmp_path: Path) -> None:
    checkout(tmp_path, src__todosStore_ts=TODOS_IN_MEMORY)
    done = check(cwd=tmp_path)
    assert (done.returncode, done.stdout.split(": ")[0]) == (1, "src/todosStore.ts:2")


@pytest.mark.parametrize("arguments", [["a", "b"], ["--nonsense"], ["no-such-folder"]])
def test_wrong_usage_exits_with_2_and_an_error_message(tmp_path: Path, arguments: str) -> None:
    done = check(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("check-adoption: ")


def test_the_script_is_executable_and_its_help_has_an_example() -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Example: " in done.stdout


def test_the_page_and_the_script_contain_every_function_of_the_package() -> None:
    page = (PROJECT_DIR / "docs/adopting.md").read_text(encoding="utf-8")
    script = SCRIPT.read_text(encoding="utf-8")
    additional = {"patchUiSettings", "loadUiSettingsWithRevision"}  # the app has no such function
    names = "tool_events hookify_decisions misalignments todos session_repo_bindings ui_settings"
    for domain in map(DomainFiles, names.split()):
        for name in domain.exported_functions():
            assert f"`{name}(" in page, f"add {name} to the tables of docs/adopting.md"
            assert name in additional or re.search(rf"\b{name}\b", script), (
                f"add {name} to REPLACED_MODULES in scripts/check-adoption"
            )
        assert f"from 'sessionbase/{domain.module}'" in page, (
            f"add {domain.module} to docs/adopting.md"
        )
