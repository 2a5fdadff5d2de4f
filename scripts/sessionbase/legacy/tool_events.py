"""The records of a chat-tool-events.json."""

from sessionbase.legacy.fields import ARRAY, INTEGER, JSON, TEXT, TIME, Field, Record

TOOL_EVENTS = Record(
    noun="event",
    table="app.tool_events",
    fields=(
        Field("id", "id", TEXT, required=True),
        Field("sessionId", "session_id", TEXT, required=True),
        Field("threadId", "thread_id", TEXT),
        Field("toolCallId", "tool_call_id", TEXT),
        Field("toolName", "tool_name", TEXT, required=True),
        Field("arguments", "arguments", JSON, required=True),
        Field("status", "status", TEXT, required=True, changes=True),
        Field("result", "result", JSON, changes=True),
        Field("error", "error", TEXT, changes=True),
        Field("contextEvents", "context_events", ARRAY, changes=True),
        Field("startedAt", "started_at", TIME, required=True),
        Field("completedAt", "completed_at", TIME, changes=True),
        Field(
            "latencyMs",
            "latency_ms",
            INTEGER,
            # The same expression as in the view api.tool_events.
            computed="round(extract(epoch from completed_at - started_at) * 1000)::bigint",
            formula="completedAt - startedAt",
        ),
    ),
    key="id",
    status="status",
    session="session_id",
    started="started_at",
    may_change="app.is_legal_tool_event_transition",
)
