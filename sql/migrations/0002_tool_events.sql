-- Domain 1: the tool runs of the chats.

create table app.tool_events (
  profile_id text not null default app.profile_id(),
  id text not null default 'tool_' || app.uuidv7(),
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
    -- Strict: a lax path would unwrap an array where an object is required.
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
-- Free space on each page, so that the new version of an updated row stays on the same page.
with (fillfactor = 80);

comment on table app.tool_events is 'The tool runs of the chats: one row per run.';
comment on column app.tool_events.profile_id is 'The profile that the event belongs to';
comment on column app.tool_events.id is 'tool_<uuid>, given by the caller or generated';
comment on column app.tool_events.session_id is 'The session; owned by another service';
comment on column app.tool_events.thread_id is 'The chat thread; owned by another service';
comment on column app.tool_events.tool_call_id is
'The model provider''s id of the call; not unique across sessions';
comment on column app.tool_events.tool_name is 'The name of the tool';
comment on column app.tool_events.status is 'pending, executing, succeeded or failed';
comment on column app.tool_events.arguments is 'The arguments of the call';
comment on column app.tool_events.result is 'The result of the tool; null until the event has finished';
comment on column app.tool_events.error is 'The error message; null unless the event failed';
comment on column app.tool_events.context_events is 'The timeline events that the tool read';
comment on column app.tool_events.started_at is 'When it was recorded, by the database''s clock';
comment on column app.tool_events.completed_at is 'When it finished, by the database''s clock';

-- The comment on a constraint is the message that a caller gets when a row violates it.
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
'completed_at must be set if and only if the event has finished';
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

-- GET /tool_events?session_id=eq.S&order=started_at,id
create index tool_events_by_session on app.tool_events (profile_id, session_id, started_at, id);
-- rpc/transition_tool_event_by_call
create index tool_events_by_tool_call on app.tool_events (profile_id, tool_call_id, started_at)
where tool_call_id is not null;
-- GET /tool_events?order=started_at.desc,id.desc&limit=N: the newest N of a profile
create index tool_events_by_time on app.tool_events (profile_id, started_at, id);
-- GET /tool_events?status=eq.failed&order=started_at.desc,id.desc&limit=N
create index tool_events_by_status on app.tool_events (profile_id, status, started_at, id);
-- In every table the primary key is created after the other indexes. For a profile that the planner's
-- statistics do not contain, all indexes that begin with profile_id have the same estimated cost, and
-- PostgreSQL takes the newest one: it must be the one that finds a single row.
alter table app.tool_events add primary key (profile_id, id);

create table app.tool_event_transitions (
  profile_id text not null,
  tool_event_id text not null,
  from_status text,
  to_status text not null,
  changed_at timestamptz not null default clock_timestamp(),
  changed_by text not null default app.actor(),
  constraint tool_event_exists
  foreign key (profile_id, tool_event_id) references app.tool_events (profile_id, id)
);
comment on table app.tool_event_transitions is
'The log of status transitions of tool events: append-only, written by a trigger.';
comment on column app.tool_event_transitions.profile_id is 'The profile of the event';
comment on column app.tool_event_transitions.tool_event_id is 'The event';
comment on column app.tool_event_transitions.from_status is 'The status before; null at the start';
comment on column app.tool_event_transitions.to_status is 'The status entered';
comment on column app.tool_event_transitions.changed_at is 'When';
comment on column app.tool_event_transitions.changed_by is
'Who: a profile, "import", or a database login';
comment on constraint tool_event_exists on app.tool_event_transitions is
'A log row belongs to an event';

-- GET /tool_event_transitions?order=changed_at.desc as a profile
create index tool_event_transitions_by_time
on app.tool_event_transitions (profile_id, changed_at, tool_event_id);
-- GET /tool_event_transitions?order=changed_at.desc as an auditor, over all profiles
create index tool_event_transitions_by_time_of_all
on app.tool_event_transitions (changed_at, profile_id, tool_event_id);
-- An event enters each status at most once.
alter table app.tool_event_transitions add primary key (profile_id, tool_event_id, to_status);

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
create policy no_estimates on app.tool_events as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.tool_events for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.tool_events for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.tool_events for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));

alter table app.tool_event_transitions enable row level security;
create policy no_estimates on app.tool_event_transitions as restrictive for select to authenticated, auditor
using (app.refuse_explain());
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
