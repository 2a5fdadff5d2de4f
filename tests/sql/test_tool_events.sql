-- Domain 1: what the tables of tool events refuse from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

-- ---- Each CHECK is violated alone, by a superuser

create function pg_temp.insert_event(changed jsonb) returns void
language sql
volatile
as $$
  insert into app.tool_events (
    profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result, error,
    context_events, started_at, completed_at
  )
  select
    event.profile_id, event.id, event.session_id, event.thread_id, event.tool_call_id,
    event.tool_name, event.status, event.arguments, event.result, event.error,
    event.context_events, event.started_at, event.completed_at
  from jsonb_populate_record(
    null::app.tool_events,
    '{"profile_id": "rules", "session_id": "s", "tool_name": "t", "status": "executing",
      "arguments": {}, "started_at": "2026-01-01T00:00:00Z"}'
    || jsonb_build_object('id', gen_random_uuid()) || insert_event.changed
  ) as event
$$;

select lives_ok(
  $$ select pg_temp.insert_event('{}') $$, 'a valid row is stored'
);
select lives_ok(
  $$ select pg_temp.insert_event(
    '{"status": "succeeded", "completed_at": "2026-01-01T00:00:01.5Z", "result": false,
      "context_events": [
        {"eventIndex": 1, "displayIndex": 2, "eventType": "a", "summary": ""},
        {"eventIndex": 1, "displayIndex": 2, "eventType": "a", "summary": "", "eventId": "e"},
        {"eventIndex": 1, "displayIndex": 2, "eventType": "a", "summary": "", "eventId": null, "more": 1}
      ]}'
  ) $$,
  'a DBA can insert a finished event, as the importer does'
);

-- Each row: a CHECK, and values that violate it.
create temporary table breaches (rule text, changed jsonb);
insert into breaches values
('profile_id_length', '{"profile_id": ""}'),
('profile_id_length', jsonb_build_object('profile_id', repeat('x', 201))),
('id_length', '{"id": ""}'),
('id_length', jsonb_build_object('id', repeat('ü', 100) || 'x')),
('session_id_length', '{"session_id": ""}'),
('session_id_length', jsonb_build_object('session_id', repeat('x', 513))),
('thread_id_length', '{"thread_id": ""}'),
('thread_id_length', jsonb_build_object('thread_id', repeat('x', 513))),
('tool_call_id_length', '{"tool_call_id": ""}'),
('tool_call_id_length', jsonb_build_object('tool_call_id', repeat('x', 513))),
('tool_name_length', '{"tool_name": ""}'),
('tool_name_length', jsonb_build_object('tool_name', repeat('x', 201))),
('status_known', '{"status": "done"}'),
('status_known', '{"status": ""}'),
('status_known', '{"status": "Executing"}'),
('completed_at_iff_finished', '{"completed_at": "2026-01-01T00:00:01Z"}'),
('completed_at_iff_finished', '{"status": "pending", "completed_at": "2026-01-01T00:00:01Z"}'),
('completed_at_iff_finished', '{"status": "succeeded"}'),
('completed_at_iff_finished', '{"status": "failed"}'),
(
  'completed_at_not_before_started_at',
  '{"status": "failed", "completed_at": "2025-12-31T23:59:59.999999Z"}'
),
('result_only_when_finished', '{"result": 1}'),
('result_only_when_finished', '{"status": "pending", "result": {"a": null}}'),
('error_only_when_failed', '{"error": ""}'),
(
  'error_only_when_failed',
  '{"status": "succeeded", "completed_at": "2026-01-01T00:00:01Z", "error": "e"}'
),
('context_events_shape', '{"context_events": {}}'),
('context_events_shape', '{"context_events": "[]"}'),
('context_events_shape', '{"context_events": [1]}'),
('context_events_shape', '{"context_events": [[]]}'),
('context_events_shape', '{"context_events": [{"eventIndex": 1, "displayIndex": 2, "eventType": "a"}]}'),
(
  'context_events_shape',
  '{"context_events": [{"eventIndex": "1", "displayIndex": 2, "eventType": "a", "summary": ""}]}'
),
(
  'context_events_shape',
  '{"context_events": [{"eventIndex": 1, "displayIndex": null, "eventType": "a", "summary": ""}]}'
),
(
  'context_events_shape',
  '{"context_events": [{"eventIndex": 1, "displayIndex": 2, "eventType": 3, "summary": ""}]}'
),
(
  'context_events_shape',
  '{"context_events": [{"eventIndex": 1, "displayIndex": 2, "eventType": "a", "summary": "", "eventId": 5}]}'
),
('arguments_size', jsonb_build_object('arguments', repeat('x', 1048576))),
(
  'result_size',
  jsonb_build_object(
    'status', 'failed', 'completed_at', '2026-01-01T00:00:01Z', 'result', repeat('x', 8388608)
  )
),
(
  'error_size',
  jsonb_build_object(
    'status', 'failed', 'completed_at', '2026-01-01T00:00:01Z', 'error', repeat('x', 65537)
  )
),
(
  'context_events_size',
  jsonb_build_object('context_events', jsonb_build_array(jsonb_build_object(
    'eventIndex', 1, 'displayIndex', 2, 'eventType', 'a', 'summary', repeat('x', 1048576)
  )))
);
select throws_ok(
  format('select pg_temp.insert_event(%L)', changed),
  '23514',
  format('new row for relation "tool_events" violates check constraint "%s"', rule),
  format('%s refuses %s', rule, left(changed::text, 80))
)
from breaches;
select set_eq(
  $$ select conname::text from pg_constraint where conrelid = 'app.tool_events'::regclass and contype = 'c' $$,
  'select distinct rule from breaches',
  'every CHECK of the table is violated above: add rows to breaches, or remove those without a CHECK'
);
select lives_ok(
  format('select pg_temp.insert_event(%L)', changed), format('%s is allowed', left(changed::text, 40))
)
from (values
  (jsonb_build_object('id', repeat('x', 200))),
  (jsonb_build_object('session_id', repeat('x', 512))),
  (jsonb_build_object('tool_name', repeat('x', 200))),
  (jsonb_build_object('arguments', repeat('x', 1048574))),
  ('{"thread_id": null, "tool_call_id": null, "context_events": []}'),
  ('{"status": "failed", "completed_at": "2026-01-01T00:00:00Z"}')
) as allowed (changed);
select throws_ok(
  format('select pg_temp.insert_event(%L)', jsonb_build_object(missing, null)), '23502', null,
  missing || ' is required'
)
from unnest(array['session_id', 'tool_name', 'status', 'started_at', 'profile_id', 'id']) as missing;
select results_eq(
  $$ select shown.latency_ms
     from app.tool_events as event
     inner join api.tool_events as shown on shown.id = event.id
     where event.profile_id = 'rules' and event.result = 'false' $$,
  'values (1500::bigint)',
  'latency_ms is in milliseconds'
);

-- ---- The state machine and the trigger that enforces it, also for a superuser

select set_eq(
  $$ select format('%s -> %s', coalesce(from_status, 'nothing'), to_status)
     from unnest(array[null, 'pending', 'executing', 'succeeded', 'failed', 'done']) as from_status
     cross join unnest(array[null, 'pending', 'executing', 'succeeded', 'failed', 'done']) as to_status
     where app.is_legal_tool_event_transition(from_status, to_status) $$,
  array[
    'nothing -> pending', 'nothing -> executing',
    'pending -> executing', 'pending -> succeeded', 'pending -> failed',
    'executing -> succeeded', 'executing -> failed'
  ],
  'only these transitions are legal: correct this list, or app.is_legal_tool_event_transition in '
  'sql/app/10_tool_events.sql'
);

insert into app.tool_events (profile_id, id, session_id, tool_name, status, arguments, context_events)
select
  'guarded', from_status || '-' || to_status, 's', 't', 'pending', '{}',
  '[{"eventIndex": 1, "displayIndex": 1, "eventType": "a", "summary": "first"}]'
from unnest(array['pending', 'executing', 'succeeded', 'failed']) as from_status
cross join unnest(array['pending', 'executing', 'succeeded', 'failed']) as to_status;
update app.tool_events set status = split_part(id, '-', 1)
where profile_id = 'guarded' and split_part(id, '-', 1) <> 'pending';

select is(
  refusal(format(
    'update app.tool_events set status = %L where profile_id = %L and id = %L',
    split_part(id, '-', 2), 'guarded', id
  )),
  case
    when app.is_legal_tool_event_transition(status, split_part(id, '-', 2)) then 'not refused'
    when status = split_part(id, '-', 2) then 'not refused'
    when status in ('succeeded', 'failed') then
      format('409 already_finished Tool event %s has already finished as %s', id, status)
    else '409 illegal_transition Cannot transition tool event from executing to pending'
  end,
  format('a DBA moves an event from %s to %s', status, split_part(id, '-', 2))
)
from app.tool_events
where profile_id = 'guarded'
order by id;

select is(
  refusal(format(
    'update app.tool_events set %s where profile_id = %L and id = %L',
    changed, 'guarded', 'succeeded-succeeded'
  )),
  '409 already_finished Tool event succeeded-succeeded has already finished as succeeded',
  format('a DBA cannot change a finished event: %s', changed)
)
from unnest(array[
  $$ result = '1' $$,
  $$ context_events = null $$,
  $$ completed_at = now() $$,
  $$ started_at = started_at - interval '1 second' $$
]) as changed;
select is(
  refusal(format(
    'update app.tool_events set status = %L, result = %L where profile_id = %L and id = %L',
    unknown, '1', 'guarded', id
  )),
  case
    when unknown is null then '400 invalid_argument status is required'
    else '400 invalid_argument status must be pending, executing, succeeded or failed'
  end,
  format('a DBA cannot move %s to the status %s', id, coalesce(quote_literal(unknown), 'null'))
)
from unnest(array['executing-executing', 'succeeded-succeeded']) as id
cross join unnest(array['done', '', null]) as unknown;
select is_empty(
  $$ select id, status, completed_at from app.tool_events
     where profile_id = 'guarded'
       and (status in ('succeeded', 'failed')) <> (completed_at is not null and completed_at >= started_at) $$,
  'the trigger set the completion time of every finished event'
);
update app.tool_events
set status = 'succeeded', completed_at = '2001-01-01'
where profile_id = 'guarded' and id = 'executing-executing';
select ok(
  (select completed_at > now() - interval '1 day' from app.tool_events
   where profile_id = 'guarded' and id = 'executing-executing'),
  'the trigger sets the completion time, also if the statement sets it'
);
insert into app.tool_events (profile_id, id, session_id, tool_name, arguments, started_at)
values ('guarded', 'from-tomorrow', 's', 't', '{}', now() + interval '1 day');
update app.tool_events set status = 'failed' where profile_id = 'guarded' and id = 'from-tomorrow';
select results_eq(
  $$ select completed_at = started_at from app.tool_events
     where profile_id = 'guarded' and id = 'from-tomorrow' $$,
  'values (true)',
  'an event never finishes before its start, also if the clock was set back'
);

-- ---- The log

select set_eq(
  $$ select tool_event_id, from_status, to_status, changed_by
     from app.tool_event_transitions
     where profile_id = 'guarded' and tool_event_id in ('pending-failed', 'executing-executing') $$,
  $$ values
    ('executing-executing', null, 'pending', session_user::text),
    ('executing-executing', 'pending', 'executing', session_user::text),
    ('executing-executing', 'executing', 'succeeded', session_user::text),
    ('pending-failed', null, 'pending', session_user::text),
    ('pending-failed', 'pending', 'failed', session_user::text) $$,
  'every status that an event enters is logged with the login, also for a DBA'
);
select throws_ok(
  statement, '23001', verb || ' of app.tool_event_transitions is refused: it is append-only',
  'not even a superuser can ' || lower(verb) || ' the log: ' || statement
)
from (values
  ('UPDATE', 'update app.tool_event_transitions set changed_by = ''x'''),
  ('DELETE', 'delete from app.tool_event_transitions where profile_id = ''guarded'''),
  ('TRUNCATE', 'truncate app.tool_event_transitions'),
  ('TRUNCATE', 'truncate app.tool_events cascade')
) as attempts (verb, statement);
select throws_ok(
  $$ delete from app.tool_events where profile_id = 'guarded' $$, '23503', null,
  'not even a superuser can delete an event that has log entries'
);
select throws_ok(
  $$ insert into app.tool_event_transitions (profile_id, tool_event_id, to_status)
     values ('guarded', 'no-such-event', 'pending') $$,
  '23503', null, 'a log entry needs an event'
);
select throws_ok(
  $$ insert into app.tool_event_transitions (profile_id, tool_event_id, from_status, to_status)
     values ('guarded', 'pending-failed', 'pending', 'failed') $$,
  '23505', null, 'the same status cannot be logged twice'
);

-- ---- Two profiles with the same id

select authenticate_as('alice');
insert into app.tool_events (id, session_id, tool_name, arguments, tool_call_id)
values ('shared', 's', 'alices', '{}', 'call');
insert into app.tool_events (id, session_id, tool_name, arguments, tool_call_id)
values ('alices-own', 's', 'alices', '{}', 'alices-call');
select authenticate_as('bob');
select lives_ok(
  $$ insert into app.tool_events (id, session_id, tool_name, arguments, tool_call_id)
     values ('shared', 's', 'bobs', '{}', 'call') $$,
  'two profiles can use the same id'
);
select set_eq(
  'select id, tool_name from app.tool_events', $$ values ('shared', 'bobs') $$,
  'a profile can read its own events only'
);
select set_eq(
  'select id, tool_name from api.tool_events', $$ values ('shared', 'bobs') $$,
  'a profile can read its own events only, through the view'
);
select set_eq(
  'select profile_id, tool_event_id from api.tool_event_transitions', $$ values ('bob', 'shared') $$,
  'a profile can read its own log only'
);
select set_eq(
  'select profile_id, tool_event_id from app.tool_event_transitions', $$ values ('bob', 'shared') $$,
  'a profile can read its own log only, from the table'
);
select is(
  refusal($$ select api.transition_tool_event('alices-own', 'failed', error => 'bob was here') $$),
  '404 not_found Tool event alices-own not found',
  'an event of another profile is not found'
);
select is_empty(
  $$ select * from api.transition_tool_event_by_call('alices-call', 'failed') $$,
  'an event of another profile is not found by call id'
);
select is_empty(
  $$ update app.tool_events set status = 'failed', error = 'bob was here' where id = 'alices-own'
     returning id $$,
  'an update of a row of another profile finds nothing'
);
update app.tool_events set status = 'succeeded', result = '"bobs"';
select as_dba();
select set_eq(
  $$ select profile_id, id, status, result, error from app.tool_events
     where profile_id in ('alice', 'bob') $$,
  $$ values
    ('alice', 'alices-own', 'executing', null::jsonb, null),
    ('alice', 'shared', 'executing', null, null),
    ('bob', 'shared', 'succeeded', '"bobs"', null) $$,
  'an update without a filter changes only rows of the own profile'
);

-- ---- What a profile cannot do although it can read

grant insert (profile_id), update (profile_id) on app.tool_events to authenticated;
select authenticate_as('bob');
select throws_ok(
  $$ insert into app.tool_events (profile_id, id, session_id, tool_name, arguments)
     values ('alice', 'forged', 's', 't', '{}') $$,
  '42501', 'new row violates row-level security policy for table "tool_events"',
  'the policy refuses the id of another profile, even with a grant on profile_id'
);
insert into app.tool_events (id, session_id, tool_name, arguments)
values ('unfinished', 's', 't', '{}');
select throws_ok(
  $$ update app.tool_events set profile_id = 'alice' where id = 'unfinished' $$,
  '42501', 'new row violates row-level security policy for table "tool_events"',
  'the policy refuses to move an event to another profile, even with a grant on profile_id'
);
select as_dba();
revoke insert (profile_id), update (profile_id) on app.tool_events from authenticated;

select authenticate_as('bob');
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.tool_events (profile_id, session_id, tool_name, arguments) values ('bob', 's', 't', '{}') $$,
  $$ insert into app.tool_events (session_id, tool_name, arguments, started_at) values ('s', 't', '{}', '2001-01-01') $$,
  $$ insert into app.tool_events (session_id, tool_name, arguments, result) values ('s', 't', '{}', '1') $$,
  $$ update app.tool_events set started_at = '2001-01-01' $$,
  $$ update app.tool_events set completed_at = now() $$,
  $$ update app.tool_events set arguments = '1' $$,
  $$ update app.tool_events set session_id = 'other' $$,
  $$ update api.tool_events set status = 'failed' $$,
  $$ insert into api.tool_events (id) values ('x') $$,
  $$ delete from app.tool_events $$,
  $$ truncate app.tool_events $$,
  $$ delete from api.tool_events $$,
  $$ insert into app.tool_event_transitions (profile_id, tool_event_id, to_status) values ('bob', 'shared', 'failed') $$,
  $$ delete from app.tool_event_transitions $$,
  $$ select app.log_tool_event_transition() $$,
  $$ select app.actor() $$,
  $$ select * from ops.migrations $$,
  $$ create table app.mine (id int) $$,
  $$ create function api.mine() returns int language sql as 'select 1' $$
]) as statement;

select authenticate_as('carol', 'auditor');
select set_has(
  $$ select profile_id, tool_event_id from api.tool_event_transitions $$,
  $$ values ('alice', 'shared'), ('alice', 'alices-own'), ('bob', 'shared') $$,
  'an auditor can read the log of every profile'
);
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  $$ select * from api.tool_events $$,
  $$ select * from app.tool_events $$,
  $$ select api.record_tool_event('s', 't', '{}') $$,
  $$ select api.transition_tool_event('shared', 'failed') $$,
  $$ select * from api.transition_tool_event_by_call('call', 'failed') $$,
  $$ insert into app.tool_event_transitions (profile_id, tool_event_id, to_status) values ('bob', 'shared', 'failed') $$
]) as statement;

select authenticate_as('carol', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  $$ select * from api.tool_events $$,
  $$ select * from api.tool_event_transitions $$,
  $$ select * from app.tool_events $$,
  $$ select api.record_tool_event('s', 't', '{}') $$,
  $$ select api.transition_tool_event('shared', 'failed') $$,
  $$ select app.profile_id() $$
]) as statement;

select authenticate_as('carol', 'sessionbase_replicator');
select throws_ok(statement, '42501', null, 'the replicator may not, unless enabled: ' || statement)
from unnest(array[
  $$ select * from app.tool_events $$,
  $$ update app.tool_events set status = 'failed' $$,
  $$ select * from app.tool_event_transitions $$,
  $$ select * from api.tool_events $$
]) as statement;

select authenticate_as('alice');
select is_empty(
  'select id from app.tool_events where id = ''forged''', 'none of the refused statements inserted a row'
);
select set_eq(
  'select id, status from api.tool_events',
  $$ values ('shared', 'executing'), ('alices-own', 'executing') $$,
  'none of the refused statements changed a row of the other profile'
);

select as_dba();
select finish();
rollback;
