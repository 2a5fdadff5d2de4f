"""Writes legacy files for tests of the importer, and imports them."""

import json
from pathlib import Path
from typing import Any

from sessionbase.legacy.importer import import_tool_events
from sessionbase.legacy.report import ImportReport

STARTED = "2025-12-18T23:50:36.922Z"


def event(event_id: str = "tool_1", **changes: Any) -> dict[str, Any]:
    """Return a record like those of real files, without the fields given as `...`."""
    record = {
        "id": event_id,
        "sessionId": "session-default",
        "threadId": "thread_1",
        "toolCallId": "207769766",
        "toolName": "get_timeline_event",
        "arguments": {"sessionId": "session-default", "eventNumber": 2591},
        "status": "executing",
        "startedAt": STARTED,
        **changes,
    }
    return {name: value for name, value in record.items() if value is not ...}


def finished(event_id: str = "tool_1", **changes: Any) -> dict[str, Any]:
    """Return a record of an event that succeeded after 78 milliseconds."""
    done = {
        "status": "succeeded",
        "result": {"found": True},
        "completedAt": "2025-12-18T23:50:37.000Z",
        "latencyMs": 78,
    }
    return event(event_id, **{**done, **changes})


def write(folder: Path, *records: Any, name: str = "chat-tool-events.json") -> Path:
    """Write a file in the format of the app; a record given as str is written as it is."""
    texts = [r if isinstance(r, str) else json.dumps(r, indent=2) for r in records]
    file = folder / name
    file.write_text("[" + ",\n".join(texts) + "]", encoding="utf-8")
    return file


def load(uri: str, file: Path, profile: str, **options: Any) -> ImportReport:
    """Run the importer in this process."""
    return import_tool_events(uri, file, profile, **options)


def rejects_of(report: ImportReport) -> list[dict[str, Any]]:
    """Return the lines of the rejects file of a report."""
    assert report.rejects_file
    text = Path(report.rejects_file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]
