-- Domain 5: what the table of bindings refuses from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

-- ---- Each CHECK is violated alone, by a superuser

create temporary table breaches (rule text, profile_id text, session_id text, asset_path text, root_dir text);
insert into breaches values
('profile_id_length', '', 's', 'a', 'r'),
('profile_id_length', repeat('x', 201), 's', 'a', 'r'),
('session_id_length', 'rules', '', 'a', 'r'),
('session_id_length', 'rules', repeat('x', 513), 'a', 'r'),
('asset_path_length', 'rules', 's', '', 'r'),
('asset_path_length', 'rules', 's', repeat('x', 4097), 'r'),
('root_dir_length', 'rules', 's', 'a', ''),
('root_dir_length', 'rules', 's', 'a', repeat('ü', 2049));
select throws_ok(
  format(
    'insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
     values (%L, %L, %L, %L)',
    profile_id, session_id, asset_path, root_dir
  ),
  '23514',
  format('new row for relation "session_repo_bindings" violates check constraint "%s"', rule),
  rule || ' refuses an invalid value'
)
from breaches;
select set_eq(
  $$ select conname::text from pg_constraint
     where conrelid = 'app.session_repo_bindings'::regclass and contype = 'c' $$,
  'select distinct rule from breaches',
  'every CHECK of the table is violated above: add rows to breaches, or remove those without a CHECK'
);
select lives_ok(
  format(
    'insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
     values (%L, %L, %L, %L)',
    'rules', repeat('x', 512), repeat('x', 4096), repeat('x', 4096)
  ),
  'the longest texts are allowed'
);
select throws_ok(
  $$ insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
     values ('rules', repeat('x', 512), 'a', 'r') $$,
  '23505', null, 'a session has one binding'
);

-- ---- updated_at

insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir, updated_at)
values ('touched', 's', 'a', 'r', now() + interval '1 day');
update app.session_repo_bindings set updated_at = '2001-01-01' where profile_id = 'touched';
select results_eq(
  $$ select updated_at from app.session_repo_bindings where profile_id = 'touched' $$,
  $$ select now() + interval '1 day 1 microsecond' $$,
  'every update increases updated_at, also if the clock was set back or a DBA sets the column'
);

-- ---- Two profiles with the same session

select authenticate_as('alice');
select is(
  (api.set_session_repo_binding(session, 'a', '/alices')).root_dir, '/alices', 'alice binds ' || session
)
from unnest(array['s1', 's2']) as session;
select is(
  refusal('delete from api.session_repo_bindings'),
  '400 invalid_argument The request would change several rows; nothing was changed',
  'a delete without a filter is refused'
);
select authenticate_as('bob');
select is(
  (api.set_session_repo_binding('s1', 'a', '/bobs')).root_dir, '/bobs', 'bob binds a session with the same name'
);
select set_eq(
  'select profile_id, root_dir from app.session_repo_bindings', $$ values ('bob', '/bobs') $$,
  'a profile can read its own bindings only'
);
select is_empty(
  $$ delete from api.session_repo_bindings where session_id = 's2' returning session_id $$,
  'clearing the binding of another profile does nothing'
);
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
     values ('alice', 's3', 'a', 'r') $$,
  $$ insert into api.session_repo_bindings (session_id, asset_path, root_dir) values ('s', 'a', 'r') $$,
  $$ update api.session_repo_bindings set root_dir = 'x' $$,
  $$ update app.session_repo_bindings set session_id = 's2' $$,
  $$ update app.session_repo_bindings set updated_at = now() $$,
  $$ update app.session_repo_bindings set profile_id = 'alice' $$,
  $$ truncate app.session_repo_bindings $$
]) as statement;
select authenticate_as('bob', 'auditor');
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  'select * from api.session_repo_bindings', 'delete from api.session_repo_bindings',
  $$ select api.set_session_repo_binding('s', 'a', 'r') $$
]) as statement;
select authenticate_as('bob', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  'select * from api.session_repo_bindings', 'delete from api.session_repo_bindings',
  $$ select api.set_session_repo_binding('s', 'a', 'r') $$
]) as statement;
select as_dba();
select set_eq(
  $$ select profile_id, session_id, root_dir from app.session_repo_bindings
     where profile_id in ('alice', 'bob') $$,
  $$ values ('alice', 's1', '/alices'), ('alice', 's2', '/alices'), ('bob', 's1', '/bobs') $$,
  'the bindings of alice are unchanged'
);

select finish();
rollback;
