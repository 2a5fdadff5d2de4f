-- Domain 3: what the tables of misalignments refuse from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

create function pg_temp.insert_misalignment(changed jsonb) returns void
language sql
volatile
as $$
  insert into app.misalignments (
    profile_id, session_id, id, rule_id, title, summary, severity, status, previous_status,
    event_range, evidence, created_at, updated_at
  )
  select (jsonb_populate_record(
    null::app.misalignments,
    '{"profile_id": "rules", "session_id": "s", "rule_id": "r", "title": "t", "summary": "s",
      "severity": "low", "status": "open", "evidence": [], "created_at": "2026-01-01T00:00:00Z"}'
    || jsonb_build_object('id', gen_random_uuid()) || insert_misalignment.changed
  )).*
$$;

-- ---- Each CHECK is violated alone, by a superuser

select lives_ok(
  format('select pg_temp.insert_misalignment(%L)', changed),
  format('%s is allowed', left(changed::text, 80))
)
from unnest(array[
  '{}',
  '{"event_range": {"startIndex": 1, "endIndex": 2, "startAt": "", "endAt": "", "more": 1}}',
  '{"evidence": [{"message": ""}, {"message": "m", "eventIndex": null, "eventId": "e", "highlight": "h"}]}',
  '{"title": "", "summary": ""}'
]::jsonb[]) as changed;
create temporary table breaches (rule text, changed jsonb);
insert into breaches values
('profile_id_length', '{"profile_id": ""}'),
('session_id_length', '{"session_id": ""}'),
('session_id_length', jsonb_build_object('session_id', repeat('x', 513))),
('id_length', '{"id": ""}'),
('id_length', jsonb_build_object('id', repeat('x', 1025))),
('rule_id_length', '{"rule_id": ""}'),
('rule_id_length', jsonb_build_object('rule_id', repeat('x', 401))),
('severity_known', '{"severity": "none"}'),
('status_known', '{"status": "closed"}'),
('previous_status_known', '{"previous_status": "closed"}'),
('event_range_shape', '{"event_range": []}'),
('event_range_shape', '{"event_range": {}}'),
('event_range_shape', '{"event_range": {"startIndex": 1, "endIndex": 2, "startAt": ""}}'),
('event_range_shape', '{"event_range": {"startIndex": "1", "endIndex": 2, "startAt": "", "endAt": ""}}'),
('event_range_shape', '{"event_range": {"startIndex": 1, "endIndex": 2, "startAt": 3, "endAt": ""}}'),
('evidence_shape', '{"evidence": {}}'),
('evidence_shape', '{"evidence": [1]}'),
('evidence_shape', '{"evidence": [[{"message": "m"}]]}'),
('evidence_shape', '{"evidence": [{}]}'),
('evidence_shape', '{"evidence": [{"message": "m"}, {"message": "m", "eventIndex": "1"}]}'),
('evidence_shape', '{"evidence": [{"message": "m", "eventId": 1}]}'),
('evidence_shape', '{"evidence": [{"message": "m", "highlight": []}]}'),
('title_size', jsonb_build_object('title', repeat('x', 65537))),
('summary_size', jsonb_build_object('summary', repeat('x', 1048577))),
(
  'event_range_size',
  jsonb_build_object('event_range', jsonb_build_object(
    'startIndex', 1, 'endIndex', 2, 'startAt', '', 'endAt', repeat('x', 65536)
  ))
),
(
  'evidence_size',
  jsonb_build_object(
    'evidence', jsonb_build_array(jsonb_build_object('message', repeat('x', 1048576)))
  )
);
select throws_ok(
  format('select pg_temp.insert_misalignment(%L)', changed),
  '23514',
  format('new row for relation "misalignments" violates check constraint "%s"', rule),
  format('%s refuses %s', rule, left(changed::text, 80))
)
from breaches;
select set_eq(
  $$ select conname::text from pg_constraint
     where conrelid = 'app.misalignments'::regclass and contype = 'c' $$,
  'select distinct rule from breaches',
  'every CHECK of the table is violated above: add rows to breaches, or remove those without a CHECK'
);
select throws_ok(
  format('select pg_temp.insert_misalignment(%L)', jsonb_build_object(missing, null)), '23502', null,
  missing || ' is required'
)
from unnest(array[
  'profile_id', 'session_id', 'id', 'rule_id', 'title', 'summary', 'severity', 'status', 'evidence',
  'created_at'
]) as missing;

-- ---- The state machine and the trigger that enforces it, also for a superuser

select set_eq(
  $$ select format('%s -> %s', coalesce(from_status, 'nothing'), to_status)
     from unnest(array[null, 'open', 'acknowledged', 'dismissed', 'closed']) as from_status
     cross join unnest(array[null, 'open', 'acknowledged', 'dismissed', 'closed']) as to_status
     where app.is_legal_misalignment_transition(from_status, to_status) $$,
  array[
    'nothing -> open', 'nothing -> acknowledged', 'nothing -> dismissed',
    'open -> acknowledged', 'open -> dismissed',
    'acknowledged -> dismissed', 'acknowledged -> open',
    'dismissed -> acknowledged', 'dismissed -> open'
  ],
  'only these transitions are legal: correct this list, or app.is_legal_misalignment_transition in '
  'sql/app/30_misalignments.sql'
);
select lives_ok(
  $$ select pg_temp.insert_misalignment('{"profile_id": "guarded", "id": "m"}') $$,
  'a superuser can insert a misalignment'
);
select throws_ok(
  $$ update app.misalignments set status = 'closed' where profile_id = 'guarded' $$, '23514', null,
  'not even a superuser can set an unknown status'
);
select results_eq(
  $$ select updated_at = created_at, previous_status from app.misalignments where profile_id = 'guarded' $$,
  $$ values (true, null::text) $$,
  'updated_at of a new misalignment is created_at'
);
update app.misalignments
set status = 'dismissed', previous_status = 'acknowledged', updated_at = '2001-01-01'
where profile_id = 'guarded';
select results_eq(
  $$ select status, previous_status, updated_at > created_at from app.misalignments
     where profile_id = 'guarded' $$,
  $$ values ('dismissed', 'open', true) $$,
  'the trigger sets previous_status and updated_at, also if the statement sets them'
);
update app.misalignments set title = 'new', previous_status = null where profile_id = 'guarded';
update app.misalignments set status = 'dismissed' where profile_id = 'guarded';
update app.misalignments set status = 'open' where profile_id = 'guarded';
select set_eq(
  $$ select number, from_status, to_status, changed_by from app.misalignment_transitions
     where profile_id = 'guarded' $$,
  $$ values
    (1, null, 'open', session_user::text),
    (2, 'open', 'dismissed', session_user::text),
    (3, 'dismissed', 'open', session_user::text) $$,
  'every transition is logged with a number; an update without a transition is not logged'
);

-- ---- The log

select throws_ok(
  statement, '23001', verb || ' of app.misalignment_transitions is refused: it is append-only',
  'not even a superuser can: ' || statement
)
from (values
  ('UPDATE', 'update app.misalignment_transitions set changed_by = ''x'''),
  ('DELETE', 'delete from app.misalignment_transitions where profile_id = ''guarded'''),
  ('TRUNCATE', 'truncate app.misalignment_transitions'),
  ('TRUNCATE', 'truncate app.misalignments cascade')
) as attempts (verb, statement);
select throws_ok(
  $$ delete from app.misalignments where profile_id = 'guarded' $$, '23503', null,
  'not even a superuser can delete a misalignment that has log entries'
);
select throws_ok(
  format(
    'insert into app.misalignment_transitions
       (profile_id, session_id, misalignment_id, number, from_status, to_status)
     values (%L, %L, %L, %s, %L, %L)',
    'guarded', 's', misalignment, number, from_status, 'open'
  ),
  code, null, 'the log refuses ' || why
)
from (values
  ('m', 3, 'dismissed', '23505', 'a number that is logged already'),
  ('m', 0, 'dismissed', '23514', 'a number 0'),
  ('m', 4, null, '23514', 'an entry other than the first without from_status'),
  ('unknown', 1, null, '23503', 'an entry without a misalignment')
) as entries (misalignment, number, from_status, code, why);

-- ---- Two profiles with the same id

select authenticate_as('alice');
select is(
  (select count(*) from api.ingest_misalignments('s', '[{"rule_id": "r", "title": "alices", "summary": ""}]')),
  1::bigint, 'alice ingests'
);
select authenticate_as('bob');
select is(
  refusal($$ select api.transition_misalignment('s', 'mis-s-r', 'dismissed') $$),
  '404 not_found Misalignment not found', 'a misalignment of another profile is not found'
);
select set_eq(
  $$ select title, status from api.ingest_misalignments(
       's', '[{"rule_id": "r", "title": "bobs", "summary": "", "status": "dismissed"}]') $$,
  $$ values ('bobs', 'dismissed') $$, 'two profiles can use the same id'
);
select set_eq(
  'select profile_id, title from app.misalignments', $$ values ('bob', 'bobs') $$,
  'a profile can read its own misalignments only'
);
select set_eq(
  'select profile_id, to_status from api.misalignment_transitions', $$ values ('bob', 'dismissed') $$,
  'a profile can read its own log only'
);
update app.misalignments set title = 'bob was here';
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.misalignments (profile_id, session_id, id, rule_id, title, summary)
     values ('alice', 's', 'm', 'r', 't', 's') $$,
  $$ update app.misalignments set profile_id = 'alice' $$,
  $$ update app.misalignments set session_id = 'x' $$,
  $$ update app.misalignments set updated_at = now() $$,
  $$ update app.misalignments set previous_status = 'open' $$,
  $$ update api.misalignments set status = 'open' $$,
  $$ delete from app.misalignments $$,
  $$ truncate app.misalignments $$,
  $$ insert into app.misalignment_transitions (profile_id, session_id, misalignment_id, number, to_status)
     values ('bob', 's', 'mis-s-r', 2, 'open') $$,
  $$ delete from app.misalignment_transitions $$,
  $$ select app.log_misalignment_transition() $$
]) as statement;

select authenticate_as('carol', 'auditor');
select set_has(
  $$ select profile_id, misalignment_id from api.misalignment_transitions $$,
  $$ values ('alice', 'mis-s-r'), ('bob', 'mis-s-r') $$,
  'an auditor can read the log of every profile'
);
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  $$ select * from api.misalignments $$,
  $$ select * from api.ingest_misalignments('s', '[]') $$,
  $$ select api.transition_misalignment('s', 'mis-s-r', 'dismissed') $$
]) as statement;

select authenticate_as('carol', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  $$ select * from api.misalignments $$,
  $$ select * from api.misalignment_transitions $$,
  $$ select * from api.ingest_misalignments('s', '[]') $$,
  $$ select api.transition_misalignment('s', 'mis-s-r', 'dismissed') $$
]) as statement;
select as_dba();
select set_eq(
  $$ select profile_id, title, status from app.misalignments where profile_id in ('alice', 'bob') $$,
  $$ values ('alice', 'alices', 'open'), ('bob', 'bob was here', 'dismissed') $$,
  'the misalignment of alice is unchanged'
);

select finish();
rollback;
