"""The SQL of the import of tool events: stage, judge, compare, load, prove."""

from psycopg import sql

STAGED = """
create temp table staged (
  profile_id text not null default {profile},
  position bigint not null,
  byte_offset bigint not null,
  id text, session_id text, thread_id text, tool_call_id text, tool_name text, status text,
  error text, started_at timestamptz, completed_at timestamptz,
  record jsonb,
  raw text,
  reasons text[]
)
"""
# What the file says of the events that are accepted so far, with the names of the table's columns.
CANDIDATES = """
create temp view candidates as
select
  position, profile_id, id, session_id, thread_id, tool_call_id, tool_name,
  status, record -> 'arguments' as arguments, record -> 'result' as result, error,
  nullif(record -> 'contextEvents', 'null') as context_events, started_at, completed_at, record
from pg_temp.staged
where reasons is null
"""
RULES = """
select
  pg_get_expr(conbin, conrelid),
  coalesce(obj_description(oid, 'pg_constraint'), 'it breaks the rule ' || conname)
from pg_constraint
where conrelid = 'app.tool_events'::regclass and contype = 'c'
order by conname
"""
LATENCY = """
select pg_get_expr(adbin, adrelid)
from pg_attrdef
join pg_attribute on attrelid = adrelid and attnum = adnum
where adrelid = 'app.tool_events'::regclass and attname = 'latency_ms'
"""
LATENCY_RULE = """
nullif(record -> 'latencyMs', 'null') is null
or (record ->> 'latencyMs')::numeric is not distinct from ({latency})
"""
REJECT_INVALID = """
update pg_temp.staged
set reasons = judged.reasons
from (
  select position, array_remove(array[{reasons}], null) as reasons
  from pg_temp.candidates
  where {broken}
) as judged
where judged.position = staged.position
"""
REJECT_DUPLICATES = """
update pg_temp.staged
set reasons = array[format('duplicate in the file: record %s has the same id', same.first)]
from (
  select id, min(position) as first
  from pg_temp.staged
  where reasons is null
  group by id
  having count(*) > 1
) as same
where staged.id = same.id and staged.position > same.first and staged.reasons is null
"""
# An event that the app has finished since the file was written is not another event: only its
# status, result, error, context events and completion may have changed, and only forward.
COMPARED = """
create temp table compared on commit drop as
select
  position,
  not identical and legal as moved_on,
  case
    when identical or legal then null
    else array_remove(identity_differs || array[
      case when stored_status <> status then 'status' end,
      case when result_differs then 'result' end,
      case when error_differs then 'error' end,
      case when context_differs then 'contextEvents' end,
      case when completed_differs then 'completedAt' end
    ], null)
  end as differs
from (
  select
    *,
    cardinality(identity_differs) = 0 and stored_status = status and not result_differs
    and not error_differs and not context_differs and not completed_differs as identical,
    cardinality(identity_differs) = 0
    and app.is_legal_tool_event_transition(status, stored_status) as legal
  from (
    select
      file.position,
      file.status,
      stored.status as stored_status,
      array_remove(array[
        case when stored.session_id <> file.session_id then 'sessionId' end,
        case when stored.thread_id is distinct from file.thread_id then 'threadId' end,
        case when stored.tool_call_id is distinct from file.tool_call_id then 'toolCallId' end,
        case when stored.tool_name <> file.tool_name then 'toolName' end,
        case when stored.arguments <> file.arguments then 'arguments' end,
        case when stored.started_at <> file.started_at then 'startedAt' end
      ], null) as identity_differs,
      stored.result is distinct from file.result as result_differs,
      stored.error is distinct from file.error as error_differs,
      stored.context_events is distinct from file.context_events as context_differs,
      stored.completed_at is distinct from file.completed_at as completed_differs
    from pg_temp.candidates as file
    join app.tool_events as stored
      on stored.profile_id = file.profile_id and stored.id = file.id
  ) as fields
) as judged
"""
COUNTS = """
select
  (select count(*) from pg_temp.staged),
  (select count(*) from pg_temp.staged where reasons is not null),
  (select count(*) from pg_temp.compared where differs is null),
  (select count(*) from pg_temp.compared where moved_on),
  (select count(*) from pg_temp.compared where differs is not null)
"""
LOAD = """
insert into app.tool_events (
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result,
  error, context_events, started_at, completed_at
)
select
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result,
  error, context_events, started_at, completed_at
from pg_temp.candidates
where not exists (
  select from pg_temp.compared where compared.position = candidates.position
)
on conflict (profile_id, id) do nothing
"""
BAD = """
from (
  select position, byte_offset, 'rejected' as outcome, reasons, coalesce(raw, record::text) as told
  from pg_temp.staged
  where reasons is not null
  union all
  select
    position, byte_offset, 'conflict',
    array['the stored event has another ' || array_to_string(differs, ', ')], record::text
  from pg_temp.compared
  join pg_temp.staged using (position)
  where differs is not null
) as bad
"""
# The file's side is read anew from its JSON, not from the columns that were loaded.
PARITY = """
with events as (
  select
    staged.record ->> 'id' as id,
    staged.record ->> 'sessionId' as told_session,
    staged.record ->> 'status' as told_status,
    (staged.record ->> 'startedAt')::timestamptz as told_start,
    stored.id is null as missing,
    stored.session_id,
    stored.status,
    stored.started_at,
    coalesce(compared.moved_on, false) as moved_on
  from pg_temp.staged
  left join pg_temp.compared using (position)
  left join app.tool_events as stored
    on stored.profile_id = staged.profile_id and stored.id = staged.record ->> 'id'
  where staged.reasons is null and compared.differs is null
),
placed as (
  select
    *,
    row_number() over (
      partition by told_session order by told_start, id collate "C"
    ) as told_place,
    row_number() over (partition by session_id order by started_at, id collate "C") as place
  from events
)
select
  told_status,
  status,
  missing,
  moved_on,
  count(*),
  count(*) filter (where told_place = 1),
  count(*) filter (where (session_id, place) is distinct from (told_session, told_place))
from placed
group by told_status, status, missing, moved_on
"""


def composed(text: str, **parts: sql.Composable) -> sql.Composed:
    """Return a statement of this module with its `{parts}` filled in."""
    return sql.SQL(text).format(**parts)
