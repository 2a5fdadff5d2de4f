-- Domain 2: what the tables of decisions refuse from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

create function pg_temp.insert_decision(changed jsonb) returns void
language sql
volatile
as $$
  insert into app.hookify_decisions (
    profile_id, position, id, session_id, source, content_hash, severity, blocked, rules, message,
    annotations, created_at, previous_hash, row_hash
  )
  select (jsonb_populate_record(
    null::app.hookify_decisions,
    jsonb_build_object(
      'profile_id', 'rules', 'id', gen_random_uuid(), 'session_id', 's', 'source', 'timeline',
      'content_hash', repeat('a', 64), 'severity', 'low', 'blocked', false, 'rules', '[]'::jsonb
    ) || insert_decision.changed
  )).*
$$;

-- ---- Each CHECK is violated alone, by a superuser

select lives_ok(
  $$ select pg_temp.insert_decision('{}') $$, 'a valid row is stored'
);
create temporary table breaches (rule text, changed jsonb);
insert into breaches values
('profile_id_length', '{"profile_id": ""}'),
('profile_id_length', jsonb_build_object('profile_id', repeat('x', 201))),
('id_length', '{"id": ""}'),
('id_length', jsonb_build_object('id', repeat('x', 201))),
('session_id_length', '{"session_id": ""}'),
('session_id_length', jsonb_build_object('session_id', repeat('x', 513))),
('source_known', '{"source": "chat"}'),
('source_known', '{"source": ""}'),
('content_hash_is_sha256', jsonb_build_object('content_hash', repeat('A', 64))),
('content_hash_is_sha256', jsonb_build_object('content_hash', repeat('a', 63))),
('content_hash_is_sha256', jsonb_build_object('content_hash', repeat('a', 64) || e'\n')),
('severity_known', '{"severity": "fatal"}'),
('rules_shape', '{"rules": {}}'),
('rules_shape', '{"rules": [1]}'),
('rules_shape', '{"rules": [[{"id": "a", "severity": "low"}]]}'),
('rules_shape', '{"rules": [{"id": "a"}]}'),
('rules_shape', '{"rules": [{"id": "a", "severity": "low"}, {"id": 1, "severity": "low"}]}'),
('rules_shape', '{"rules": [{"id": "a", "severity": "fatal"}]}'),
(
  'rules_size',
  jsonb_build_object(
    'rules', jsonb_build_array(jsonb_build_object('id', repeat('x', 1048576), 'severity', 'low'))
  )
),
('message_size', jsonb_build_object('message', repeat('x', 65537))),
('annotations_size', jsonb_build_object('annotations', repeat('x', 1048577)));
select throws_ok(
  format('select pg_temp.insert_decision(%L)', changed),
  '23514',
  format('new row for relation "hookify_decisions" violates check constraint "%s"', rule),
  format('%s refuses %s', rule, left(changed::text, 80))
)
from breaches;
select set_eq(
  $$ select conname::text from pg_constraint
     where conrelid = 'app.hookify_decisions'::regclass and contype = 'c' $$,
  'select distinct rule from breaches',
  'every CHECK of the table is violated above: add rows to breaches, or remove those without a CHECK'
);
select throws_ok(
  format('select pg_temp.insert_decision(%L)', jsonb_build_object(missing, null)), '23502', null,
  missing || ' is required'
)
from unnest(array[
  'id', 'session_id', 'source', 'content_hash', 'severity', 'blocked', 'rules'
]) as missing;
select results_eq(
  $$ select length from app.hookify_chains where profile_id = 'rules' $$,
  'values (1::bigint)',
  'a refused row does not change the chain'
);

-- ---- The chain, also for rows of a superuser

select lives_ok(
  format('select pg_temp.insert_decision(%L)', jsonb_build_object(
    'profile_id', 'chained', 'id', 'd' || number, 'position', 99, 'created_at', '2001-01-01',
    'previous_hash', 'forged', 'row_hash', 'forged'
  )),
  format('a superuser stores decision %s', number)
)
from generate_series(1, 3) as number;
select results_eq(
  $$ select id, position from app.hookify_decisions where profile_id = 'chained' order by position $$,
  $$ values ('d1', 1::bigint), ('d2', 2), ('d3', 3) $$,
  'the trigger sets the position, also if the statement sets it'
);
select results_eq(
  $$ select previous_hash, row_hash from app.hookify_decisions
     where profile_id = 'chained' order by position $$,
  $$ select
       lag(row_hash, 1, repeat('0', 64)) over (order by position),
       app.hookify_decision_hash(decision)
     from app.hookify_decisions as decision
     where profile_id = 'chained' order by position $$,
  'the trigger sets the hashes'
);
select is_empty(
  $$ select id from app.hookify_decisions
     where profile_id = 'chained' and created_at < now() - interval '1 day' $$,
  'the trigger sets the time'
);
select results_eq(
  $$ select chain.length, chain.head_hash from app.hookify_chains as chain
     where profile_id = 'chained' $$,
  $$ select 3::bigint, row_hash from app.hookify_decisions where profile_id = 'chained' and id = 'd3' $$,
  'the head of the chain is the newest decision'
);
select throws_ok(
  $$ select pg_temp.insert_decision('{"profile_id": "chained", "id": "d1"}') $$, '23505', null,
  'an id can be used only once'
);
select results_eq(
  $$ select length from app.hookify_chains where profile_id = 'chained' $$, 'values (3::bigint)',
  'a refused id leaves no gap in the chain'
);
select isnt(
  app.hookify_decision_hash(jsonb_populate_record(decision, changed)),
  row_hash,
  format('the hash covers %s', (select jsonb_object_keys(changed)))
)
from app.hookify_decisions as decision
cross join unnest(array[
  '{"previous_hash": "x"}', '{"profile_id": "x"}', '{"position": 7}', '{"id": "x"}',
  '{"session_id": "x"}', '{"source": "manual"}', '{"content_hash": "x"}', '{"severity": "high"}',
  '{"blocked": true}', '{"rules": [{}]}', '{"message": ""}', '{"annotations": ""}',
  '{"created_at": "2001-01-01"}'
]::jsonb[]) as changed
where profile_id = 'chained' and id = 'd2';

-- ---- Append-only

select throws_ok(
  statement, '23001', verb || ' of app.hookify_decisions is refused: it is append-only',
  'not even a superuser can: ' || statement
)
from (values
  ('UPDATE', 'update app.hookify_decisions set blocked = true where profile_id = ''chained'''),
  ('UPDATE', 'update app.hookify_decisions set blocked = true where false'),
  ('DELETE', 'delete from app.hookify_decisions where profile_id = ''chained'''),
  ('TRUNCATE', 'truncate app.hookify_decisions'),
  (
    'UPDATE',
    'merge into app.hookify_decisions as d using (values (1)) as v on d.profile_id = ''chained''
     when matched then update set blocked = true'
  )
) as attempts (verb, statement);

-- ---- What each role can access

select authenticate_as('alice');
select is(
  (api.record_hookify_decision('s', 'manual', 'low', true, '[]', content => 'secret', id => 'd')).position,
  1::bigint, 'alice records a decision'
);
select authenticate_as('bob');
select is(
  (api.record_hookify_decision('s', 'manual', 'low', false, '[]', content => 'x', id => 'd')).position,
  1::bigint, 'bob uses the same id in his own chain'
);
select set_eq(
  'select profile_id, id, blocked from app.hookify_decisions', $$ values ('bob', 'd', false) $$,
  'a profile can read its own decisions only'
);
select set_eq(
  'select profile_id from app.hookify_chains', array['bob'], 'a profile can read its own chain only'
);
select is(
  refusal($$ select api.verify_hookify_decisions('alice') $$),
  '400 invalid_argument A profile can verify its own decisions only',
  'a profile cannot verify the chain of another'
);
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.hookify_decisions (profile_id, session_id, source, content_hash, severity, blocked, rules)
     values ('alice', 's', 'manual', repeat('a', 64), 'low', false, '[]') $$,
  $$ insert into api.hookify_decisions (id) values ('x') $$,
  $$ update app.hookify_decisions set blocked = true $$,
  $$ delete from app.hookify_decisions $$,
  $$ truncate app.hookify_decisions $$,
  $$ update app.hookify_chains set length = 0 $$,
  $$ delete from app.hookify_chains $$,
  $$ insert into app.hookify_chains (profile_id) values ('carol') $$,
  $$ select app.chain_hookify_decision() $$,
  $$ set local session_replication_role = replica $$,
  $$ alter table app.hookify_decisions disable trigger append_only $$
]) as statement;

select authenticate_as('carol', 'auditor');
select set_has(
  'select profile_id, id from api.hookify_decisions', $$ values ('alice', 'd'), ('bob', 'd') $$,
  'an auditor can read the decisions of every profile'
);
select results_eq(
  $$ select profile_id, valid, checked
     from unnest(array['alice', 'bob', 'chained']) as wanted
     cross join api.verify_hookify_decisions(wanted) $$,
  $$ values ('alice', true, 1::bigint), ('bob', true, 1), ('chained', true, 3) $$,
  'an auditor can verify every chain'
);
select is(
  refusal($$ select api.verify_hookify_decisions('nobody') $$),
  '404 not_found No decisions are recorded for profile nobody',
  'an unknown profile is not found'
);
select set_has(
  $$ select profile_id, valid, checked from api.verify_hookify_decisions() $$,
  $$ values ('alice', true, 1::bigint), ('bob', true, 1), ('chained', true, 3) $$,
  'without an argument an auditor verifies every profile'
);
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  $$ select api.record_hookify_decision('s', 'manual', 'low', true, '[]', content => 'x') $$,
  $$ update app.hookify_decisions set blocked = true $$,
  $$ delete from app.hookify_decisions $$
]) as statement;

select authenticate_as('carol', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  $$ select * from api.hookify_decisions $$,
  $$ select * from app.hookify_decisions $$,
  $$ select * from app.hookify_chains $$,
  $$ select api.verify_hookify_decisions() $$,
  $$ select api.record_hookify_decision('s', 'manual', 'low', true, '[]', content => 'x') $$
]) as statement;
select as_dba();

-- ---- The content is hashed and not stored

select results_eq(
  $$ select content_hash from app.hookify_decisions where profile_id = 'alice' $$,
  $$ values ('2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b') $$,
  'the SHA-256 of the content is stored'
);
select is_empty(
  $$ select id from app.hookify_decisions as decision
     where profile_id = 'alice' and decision::text like '%secret%' $$,
  'the content is not stored'
);

select finish();
rollback;
