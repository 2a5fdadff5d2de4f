-- Domain 1: tool events.

create or replace view api.tool_events
with (security_invoker = true) as
select
  event.id,
  event.session_id,
  event.thread_id,
  event.tool_call_id,
  event.tool_name,
  event.status,
  event.arguments,
  event.result,
  event.error,
  event.context_events,
  event.started_at,
  event.completed_at,
  pg_catalog.round(extract(epoch from event.completed_at - event.started_at) * 1000)::bigint
    as latency_ms
from app.tool_events as event;

comment on view api.tool_events is
'The tool runs of the profile''s chats
List a session in the app''s order with ?session_id=eq.S&order=started_at,id.';
comment on column api.tool_events.id is 'The event''s id, tool_<uuid>';
comment on column api.tool_events.session_id is 'The session that the chat belongs to';
comment on column api.tool_events.thread_id is 'The chat thread, or null';
comment on column api.tool_events.tool_call_id is
'The model provider''s id of the call, or null; not unique across sessions';
comment on column api.tool_events.tool_name is 'The name of the tool, for example get_timeline_event';
comment on column api.tool_events.status is
'pending, executing, succeeded or failed; the last two are final';
comment on column api.tool_events.arguments is 'The arguments of the call: any JSON';
comment on column api.tool_events.result is 'The result of the tool: any JSON; null until finished';
comment on column api.tool_events.error is 'The error message; null unless failed';
comment on column api.tool_events.context_events is
'The timeline events that the tool read:
an array of {eventIndex, displayIndex, eventId?, eventType, summary}, or null';
comment on column api.tool_events.started_at is 'When the event was recorded';
comment on column api.tool_events.completed_at is 'When it succeeded or failed; null before';
comment on column api.tool_events.latency_ms is
'completed_at - started_at in milliseconds; null before it finished';
grant select on api.tool_events to authenticated;

create or replace view api.tool_event_transitions
with (security_invoker = true) as
select
  entry.profile_id,
  entry.tool_event_id,
  entry.from_status,
  entry.to_status,
  entry.changed_at,
  entry.changed_by
from app.tool_event_transitions as entry;

comment on view api.tool_event_transitions is
'The log of status transitions of tool events
A profile sees its own, an auditor those of all profiles.';
comment on column api.tool_event_transitions.profile_id is 'The profile that the event belongs to';
comment on column api.tool_event_transitions.tool_event_id is 'The event';
comment on column api.tool_event_transitions.from_status is 'The status before; null at the start';
comment on column api.tool_event_transitions.to_status is 'The status entered';
comment on column api.tool_event_transitions.changed_at is 'When';
comment on column api.tool_event_transitions.changed_by is
'Who: a profile, "import" for a legacy file, or a database login';
grant select on api.tool_event_transitions to authenticated, auditor;

create or replace function api.record_tool_event(
  session_id text default null,
  tool_name text default null,
  arguments jsonb default null,
  id text default null,
  thread_id text default null,
  tool_call_id text default null,
  status text default 'executing',
  context_events jsonb default null
) returns api.tool_events
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  event_id constant text := coalesce(record_tool_event.id, 'tool_' || app.uuidv7());
  starting_status constant text := coalesce(record_tool_event.status, 'executing');
  -- JSON null is a value; PostgREST passes it as SQL null.
  given_arguments constant jsonb := coalesce(record_tool_event.arguments, 'null');
  inserted integer;
  stored app.tool_events;
  recorded_status text;
  untouched boolean;
  differing text[];
  answer api.tool_events;
  violation app.violation;
begin
  perform app.limit_depth('arguments', given_arguments);
  perform app.limit_depth('context_events', record_tool_event.context_events);
  if not app.is_legal_tool_event_transition(null, starting_status) then
    perform app.raise_error(
      400, 'invalid_argument', 'status must be pending or executing',
      pg_catalog.jsonb_build_object('field', 'status', 'status', starting_status),
      'Record an event when it starts; finish it with transition_tool_event'
    );
  end if;

  begin
    insert into app.tool_events (
      id, session_id, thread_id, tool_call_id, tool_name, status, arguments, context_events
    )
    values (
      event_id, record_tool_event.session_id, record_tool_event.thread_id,
      record_tool_event.tool_call_id, record_tool_event.tool_name, starting_status,
      given_arguments, record_tool_event.context_events
    )
    on conflict (profile_id, id) do nothing;
    get diagnostics inserted = row_count;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violation.table_name = table_name,
        violation.constraint_name = constraint_name,
        violation.column_name = column_name;
      perform app.refuse_row(violation);
  end;

  if inserted = 0 then
    perform app.mark_unchanged();
    select * into strict stored
    from app.tool_events as event
    where event.profile_id = me and event.id = event_id;
    -- The first log entry was written by the transaction that recorded the event. If the row version
    -- of the event is from that transaction too, the event was never updated.
    select entry.to_status, entry.xmin = event.xmin into strict recorded_status, untouched
    from app.tool_events as event
    inner join app.tool_event_transitions as entry
      on entry.profile_id = event.profile_id and entry.tool_event_id = event.id
    where event.profile_id = me and event.id = event_id and entry.from_status is null;

    differing := pg_catalog.array_remove(array[
      case when stored.session_id <> record_tool_event.session_id then 'session_id' end,
      case
        when stored.thread_id is distinct from record_tool_event.thread_id then 'thread_id'
      end,
      case
        when stored.tool_call_id is distinct from record_tool_event.tool_call_id
          then 'tool_call_id'
      end,
      case when stored.tool_name <> record_tool_event.tool_name then 'tool_name' end,
      case when stored.arguments <> given_arguments then 'arguments' end,
      case when recorded_status <> starting_status then 'status' end,
      -- After an update they can be those of another call.
      case
        when untouched
          and stored.context_events is distinct from record_tool_event.context_events
          then 'context_events'
      end
    ], null);
    if pg_catalog.cardinality(differing) > 0 then
      perform app.raise_error(
        409, 'id_taken',
        pg_catalog.format('Tool event %s is already recorded with other content', event_id),
        pg_catalog.jsonb_build_object('id', event_id, 'differs', differing),
        'Use another id, or omit it: then one is generated'
      );
    end if;
  end if;

  select * into strict answer from api.tool_events as event where event.id = event_id;
  return answer;
end
$$;
comment on function
api.record_tool_event(text, text, jsonb, text, text, text, text, jsonb) is
'Record that a tool run has started
Returns the stored event. A repeated call with the same id and content returns it again;
other content under the same id is refused with 409 id_taken.

- session_id: Required. The session that the chat belongs to
- tool_name: Required. The name of the tool
- arguments: The arguments of the call: any JSON; null if omitted
- status: pending or executing';
grant execute on function
api.record_tool_event(text, text, jsonb, text, text, text, text, jsonb) to authenticated;

create or replace function api.transition_tool_event(
  id text default null,
  to_status text default null,
  result jsonb default null,
  error text default null,
  context_events jsonb default null,
  expected_status text default null
) returns api.tool_events
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  stored_status text;
  finished boolean;
  answer api.tool_events;
  violation app.violation;
begin
  perform app.require_argument('id', transition_tool_event.id is not null);
  perform app.require_tool_event_status(transition_tool_event.to_status, 'to_status');
  perform app.limit_depth('result', transition_tool_event.result);
  perform app.limit_depth('context_events', transition_tool_event.context_events);

  loop
    begin
      update app.tool_events as event
      set
        status = transition_tool_event.to_status,
        result = transition_tool_event.result,
        error = transition_tool_event.error,
        context_events = coalesce(transition_tool_event.context_events, event.context_events)
      where event.profile_id = me
        and event.id = transition_tool_event.id
        and case
          when event.completed_at is null
            then event.status = coalesce(transition_tool_event.expected_status, event.status)
          -- The same status again is a repeated call; any other one is refused by the trigger.
          else event.status is distinct from transition_tool_event.to_status
        end;
      exit when found;
    exception
      when check_violation then
        get stacked diagnostics
          violation.table_name = table_name,
          violation.constraint_name = constraint_name;
        perform app.refuse_row(violation);
    end;

    -- No row was updated: lock the row to find out why.
    select event.status, event.completed_at is not null into stored_status, finished
    from app.tool_events as event
    where event.profile_id = me and event.id = transition_tool_event.id
    for update;
    if not found then
      perform app.raise_error(
        404, 'not_found',
        pg_catalog.format('Tool event %s not found', transition_tool_event.id),
        pg_catalog.jsonb_build_object('id', transition_tool_event.id)
      );
    end if;
    -- A repeated call: the first completion stays as it is.
    if finished and stored_status = transition_tool_event.to_status then
      perform app.mark_unchanged();
      exit;
    end if;
    -- A concurrent call has finished it with the other status: the UPDATE, now with the row locked,
    -- raises already_finished, as without concurrency.
    continue when finished;
    if stored_status <> transition_tool_event.expected_status then
      perform app.raise_error(
        409, 'illegal_transition',
        pg_catalog.format(
          'Tool event is %s, not %s', stored_status, transition_tool_event.expected_status
        ),
        pg_catalog.jsonb_build_object(
          'from', stored_status,
          'to', transition_tool_event.to_status,
          'expected', transition_tool_event.expected_status
        )
      );
    end if;
    -- It was inserted, or got the expected status, between the two statements: try again, locked.
  end loop;

  select * into strict answer
  from api.tool_events as event
  where event.id = transition_tool_event.id;
  return answer;
end
$$;
comment on function api.transition_tool_event(text, text, jsonb, text, jsonb, text) is
'Change the status of a tool event, by its id
Legal: pending to executing, succeeded, failed; executing to succeeded, failed. A repeated call with
the status that a finished event already has changes nothing and returns the stored event; the other
final status is refused with 409 already_finished. With expected_status, only if the stored status is
that one. Context events replace the stored ones; if omitted, the stored ones stay.

- id: Required. The event
- to_status: Required. The status to enter: executing, succeeded or failed
- expected_status: Change only if the stored status is this one; null: any status';
grant execute on function
api.transition_tool_event(text, text, jsonb, text, jsonb, text) to authenticated;

create or replace function api.transition_tool_event_by_call(
  tool_call_id text default null,
  to_status text default null,
  session_id text default null,
  result jsonb default null,
  error text default null,
  context_events jsonb default null,
  expected_status text default null
) returns setof api.tool_events
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  picked text;
  before text;
  unfinished boolean;
begin
  perform app.require_argument(
    'tool_call_id', transition_tool_event_by_call.tool_call_id is not null
  );
  perform app.require_tool_event_status(transition_tool_event_by_call.to_status, 'to_status');

  -- One transaction per call id at a time: the loop below can hold the lock on one event while it
  -- waits for another, so that two such loops could deadlock.
  perform pg_catalog.pg_advisory_xact_lock(
    app.lock_key('tool_call', me, transition_tool_event_by_call.tool_call_id)
  );
  -- The newest unfinished event, else the newest one. The transaction that held the row lock can have
  -- finished the selected event: then select again, because there can be another unfinished one.
  loop
    select event.id, event.completed_at is null into picked, unfinished
    from app.tool_events as event
    where event.profile_id = me
      and event.tool_call_id = transition_tool_event_by_call.tool_call_id
      and (
        transition_tool_event_by_call.session_id is null
        or event.session_id = transition_tool_event_by_call.session_id
      )
    order by event.completed_at is null desc, event.started_at desc, event.id desc
    limit 1
    for update;
    if not found then
      return;
    end if;
    exit when unfinished or picked = before;
    before := picked;
  end loop;

  return next api.transition_tool_event(
    picked,
    transition_tool_event_by_call.to_status,
    transition_tool_event_by_call.result,
    transition_tool_event_by_call.error,
    transition_tool_event_by_call.context_events,
    transition_tool_event_by_call.expected_status
  );
end
$$;
comment on function
api.transition_tool_event_by_call(text, text, text, jsonb, text, jsonb, text) is
'Change the status of a tool event, by the model provider''s id of the call
Selects the newest unfinished event with that call id, else the newest one. Returns an array with the
stored event, or an empty array if there is none. The rules are those of
transition_tool_event.

- tool_call_id: Required. The id of the call
- to_status: Required. The status to enter: executing, succeeded or failed
- session_id: Search in this session only; null: in all of them
- expected_status: Change only if the stored status is this one; null: any status';
grant execute on function
api.transition_tool_event_by_call(text, text, text, jsonb, text, jsonb, text) to authenticated;
