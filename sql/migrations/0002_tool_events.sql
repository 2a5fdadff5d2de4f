-- Domain 1: what the chat's tools did.

create function app.is_legal_tool_event_transition(from_status text, to_status text)
returns boolean
language sql
immutable
security invoker
parallel safe
set search_path = ''
as $$
  select coalesce(
    case is_legal_tool_event_transition.from_status
      when 'pending' then
        is_legal_tool_event_transition.to_status in ('executing', 'succeeded', 'failed')
      when 'executing' then is_legal_tool_event_transition.to_status in ('succeeded', 'failed')
    end,
    is_legal_tool_event_transition.from_status is null
    and is_legal_tool_event_transition.to_status in ('pending', 'executing')
  )
$$;
comment on function app.is_legal_tool_event_transition(text, text) is
'The state machine of a tool event. From null: the statuses that an event may be recorded with.';
grant execute on function app.is_legal_tool_event_transition(text, text) to authenticated;

create table app.tool_events (
  profile_id text not null default app.profile_id(),
  id text not null default 'tool_' || uuidv7(),
  session_id text not null,
  thread_id text,
  tool_call_id text,
  tool_name text not null,
  status text not null default 'executing',
  arguments jsonb not null,
  result jsonb,
  error text,
  context_events jsonb,
  started_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz,
  latency_ms bigint generated always as (
    round(extract(epoch from completed_at - started_at) * 1000)
  ) stored,
  primary key (profile_id, id),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint id_length check (octet_length(id) between 1 and 200),
  constraint session_id_length check (octet_length(session_id) between 1 and 512),
  constraint thread_id_length check (octet_length(thread_id) between 1 and 512),
  constraint tool_call_id_length check (octet_length(tool_call_id) between 1 and 512),
  constraint tool_name_length check (octet_length(tool_name) between 1 and 200),
  constraint status_known check (status in ('pending', 'executing', 'succeeded', 'failed')),
  constraint completed_at_iff_finished
  check ((status in ('succeeded', 'failed')) = (completed_at is not null)),
  constraint completed_at_not_before_started_at check (completed_at >= started_at),
  constraint result_only_when_finished check (status in ('succeeded', 'failed') or result is null),
  constraint error_only_when_failed check (status = 'failed' or error is null),
  constraint context_events_shape check (
    jsonb_typeof(context_events) = 'array'
    -- Strict, because a lax path looks into an array where it should find an object.
    and not context_events @? 'strict $[*] ? (@.type() != "object")'
    and not context_events @? '$[*] ? (!(
      @.eventIndex.type() == "number"
      && @.displayIndex.type() == "number"
      && (!exists(@.eventId) || @.eventId.type() == "string" || @.eventId.type() == "null")
      && @.eventType.type() == "string"
      && @.summary.type() == "string"
    ))'
  ),
  constraint arguments_size check (octet_length(arguments::text) <= 1048576),
  constraint result_size check (octet_length(result::text) <= 8388608),
  constraint error_size check (octet_length(error) <= 65536),
  constraint context_events_size check (octet_length(context_events::text) <= 1048576)
)
-- Room on each page for the new version of a row, so that a transition touches no index.
with (fillfactor = 80);

comment on table app.tool_events is 'What the chat''s tools did: one row a tool run.';
comment on column app.tool_events.profile_id is 'The profile that the event belongs to';
comment on column app.tool_events.id is 'tool_<uuid>, given by the caller or made here';
comment on column app.tool_events.session_id is 'The session; owned by another service';
comment on column app.tool_events.thread_id is 'The chat thread; owned by another service';
comment on column app.tool_events.tool_call_id is
'The model provider''s id of the call; not unique across sessions';
comment on column app.tool_events.tool_name is 'Which tool ran';
comment on column app.tool_events.status is 'pending, executing, succeeded or failed';
comment on column app.tool_events.arguments is 'What the tool was called with';
comment on column app.tool_events.result is 'What it gave, once finished';
comment on column app.tool_events.error is 'Why it failed';
comment on column app.tool_events.context_events is 'The timeline events that it looked at';
comment on column app.tool_events.started_at is 'When it was recorded, by the database''s clock';
comment on column app.tool_events.completed_at is 'When it finished, by the database''s clock';
comment on column app.tool_events.latency_ms is 'completed_at - started_at, in milliseconds';

-- What a caller is told when it breaks the rule.
comment on constraint profile_id_length on app.tool_events is
'The profile id must have 1 to 200 bytes';
comment on constraint id_length on app.tool_events is 'id must have 1 to 200 bytes';
comment on constraint session_id_length on app.tool_events is 'session_id must have 1 to 512 bytes';
comment on constraint thread_id_length on app.tool_events is 'thread_id must have 1 to 512 bytes';
comment on constraint tool_call_id_length on app.tool_events is
'tool_call_id must have 1 to 512 bytes';
comment on constraint tool_name_length on app.tool_events is 'tool_name must have 1 to 200 bytes';
comment on constraint status_known on app.tool_events is
'status must be pending, executing, succeeded or failed';
comment on constraint completed_at_iff_finished on app.tool_events is
'completed_at is there exactly when the event has finished';
comment on constraint completed_at_not_before_started_at on app.tool_events is
'An event cannot finish before it started';
comment on constraint result_only_when_finished on app.tool_events is
'result is only for an event that succeeded or failed';
comment on constraint error_only_when_failed on app.tool_events is
'error is only for an event that failed';
comment on constraint context_events_shape on app.tool_events is
'context_events must be an array of {eventIndex, displayIndex, eventId?, eventType, summary}';
comment on constraint arguments_size on app.tool_events is 'arguments may have 1 MiB at most';
comment on constraint result_size on app.tool_events is 'result may have 8 MiB at most';
comment on constraint error_size on app.tool_events is 'error may have 64 KiB at most';
comment on constraint context_events_size on app.tool_events is
'context_events may have 1 MiB at most';

create index tool_events_by_session on app.tool_events (profile_id, session_id, started_at, id);
create index tool_events_by_tool_call on app.tool_events (profile_id, tool_call_id, started_at)
where tool_call_id is not null;

create table app.tool_event_transitions (
  profile_id text not null,
  tool_event_id text not null,
  from_status text,
  to_status text not null,
  changed_at timestamptz not null default clock_timestamp(),
  changed_by text not null default app.actor(),
  -- No status is entered twice.
  primary key (profile_id, tool_event_id, to_status),
  constraint tool_event_exists
  foreign key (profile_id, tool_event_id) references app.tool_events (profile_id, id)
);
comment on table app.tool_event_transitions is
'Every status that a tool event entered: append-only, written by a trigger.';
comment on column app.tool_event_transitions.profile_id is 'The profile of the event';
comment on column app.tool_event_transitions.tool_event_id is 'The event';
comment on column app.tool_event_transitions.from_status is 'The status before; null at the start';
comment on column app.tool_event_transitions.to_status is 'The status entered';
comment on column app.tool_event_transitions.changed_at is 'When';
comment on column app.tool_event_transitions.changed_by is
'Who: a profile, "import", or a database login';
comment on constraint tool_event_exists on app.tool_event_transitions is
'A log row belongs to an event';

create function app.guard_tool_event() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if old.completed_at is null then
    if new.status = old.status then
      return new;
    elsif app.is_legal_tool_event_transition(old.status, new.status) then
      if new.status in ('succeeded', 'failed') then
        -- A clock that was set back must not make an event finish before it started.
        new.completed_at := greatest(pg_catalog.clock_timestamp(), old.started_at);
      end if;
      return new;
    end if;
  elsif (
    new.session_id, new.thread_id, new.tool_call_id, new.tool_name, new.status, new.arguments,
    new.result, new.error, new.context_events, new.started_at, new.completed_at
  ) is not distinct from (
    old.session_id, old.thread_id, old.tool_call_id, old.tool_name, old.status, old.arguments,
    old.result, old.error, old.context_events, old.started_at, old.completed_at
  ) then
    return new;
  end if;

  if new.status is null or not (
    app.is_legal_tool_event_transition(null, new.status)
    or app.is_legal_tool_event_transition('pending', new.status)
  ) then
    -- Nothing leads to it, so it is no status. Said here because PostgreSQL checks constraints in
    -- the order of their names, and others that it breaks as well come before status_known.
    perform app.refuse_row(
      'tool_events', case when new.status is not null then 'status_known' end, 'status'
    );
  elsif old.completed_at is not null then
    perform app.raise_error(
      409, 'already_finished',
      pg_catalog.format('Tool event %s has already finished as %s', old.id, old.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status, 'status', old.status)
    );
  else
    perform app.raise_error(
      409, 'illegal_transition',
      pg_catalog.format('Cannot transition tool event from %s to %s', old.status, new.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status)
    );
  end if;
  return null;
end
$$;
comment on function app.guard_tool_event() is
'Trigger: refuses an illegal transition and any change of a finished event, whoever tries, and sets
the completion time.';

create function app.log_tool_event_transition() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  if tg_level = 'STATEMENT' then
    -- Once for all rows of an INSERT, which may be an import of many.
    insert into app.tool_event_transitions (profile_id, tool_event_id, to_status, changed_by)
    select started.profile_id, started.id, started.status, actor.name
    from started, (select app.actor() as name) as actor;
  else
    insert into app.tool_event_transitions (profile_id, tool_event_id, from_status, to_status)
    values (new.profile_id, new.id, old.status, new.status);
  end if;
  return null;
end
$$;
comment on function app.log_tool_event_transition() is
'Trigger: logs the status that an event enters.
SECURITY DEFINER so that no client role needs INSERT on the log, and none can forge an entry.';

create trigger guard_transition before update on app.tool_events
for each row execute function app.guard_tool_event();
create trigger log_start after insert on app.tool_events
referencing new table as started
for each statement execute function app.log_tool_event_transition();
create trigger log_transition after update of status on app.tool_events
for each row when (old.status is distinct from new.status)
execute function app.log_tool_event_transition();
create trigger append_only before update or delete or truncate on app.tool_event_transitions
for each statement execute function app.refuse_change();

alter table app.tool_events enable row level security;
create policy select_own on app.tool_events for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.tool_events for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.tool_events for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));

alter table app.tool_event_transitions enable row level security;
create policy select_own on app.tool_event_transitions for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.tool_event_transitions for select to auditor
using (true);

grant select on app.tool_events to authenticated;
grant insert (
  id, session_id, thread_id, tool_call_id, tool_name, status, arguments, context_events
) on app.tool_events to authenticated;
grant update (status, result, error, context_events) on app.tool_events to authenticated;
grant select on app.tool_event_transitions to authenticated, auditor;
