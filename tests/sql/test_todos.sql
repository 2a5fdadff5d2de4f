-- Domain 4: what the table of todos refuses from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

-- ---- Each CHECK is violated alone, by a superuser

-- Code points that trim() of JavaScript removes, and others that it does not remove.
select throws_ok(
  format('insert into app.todos (profile_id, text) values (%L, %L)', 'rules', chr(code) || chr(code)),
  'PGRST', null,
  format('a text of U+%s alone is blank', lpad(upper(to_hex(code)), 4, '0'))
)
from unnest(array[
  9, 10, 11, 12, 13, 32, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202,
  8232, 8233, 8239, 8287, 12288, 65279
]) as code;
select lives_ok(
  format('insert into app.todos (profile_id, text) values (%L, %L)', 'rules', chr(code)),
  format('a text of U+%s alone is not blank', lpad(upper(to_hex(code)), 4, '0'))
)
from unnest(array[8, 14, 31, 33, 133, 6158, 8203, 8204, 8288, 12289]) as code;
select throws_ok(
  format('insert into app.todos (profile_id, text) values (%L, %L)', profile, text), code, null,
  'refused: ' || why
)
from (values
  ('rules', '', 'PGRST', 'an empty text'),
  ('rules', null, 'PGRST', 'no text'),
  ('rules', repeat('x', 65537), 'PGRST', 'a text that is too long'),
  ('', 'x', '23514', 'an empty profile'),
  (repeat('x', 201), 'x', '23514', 'a profile that is too long')
) as refused (profile, text, code, why);
select lives_ok(
  format('insert into app.todos (profile_id, text) values (%L, %L)', 'rules', repeat('x', 65536)),
  'a text of 64 KiB is allowed'
);
select throws_ok(
  $$ update app.todos set text = ' ' where profile_id = 'rules' $$, 'PGRST', null,
  'an update cannot make a text blank'
);
select throws_ok(
  $$ update app.todos set completed = null where profile_id = 'rules' $$, 'PGRST', null,
  'completed cannot be null'
);

-- ---- Two profiles with the same id

select authenticate_as('alice');
insert into api.todos (id, text) values
('00000000-0000-7000-8000-000000000001', 'alices'), ('00000000-0000-7000-8000-000000000002', 'alices');
select is(
  refusal('update api.todos set completed = true'),
  '400 invalid_argument The request would change several rows; nothing was changed',
  'an update without a filter is refused'
);
select is(
  refusal($$ update api.todos set completed = true where id = '00000000-0000-7000-8000-000000000001' $$),
  'not refused', 'an update of one row is accepted'
);
select authenticate_as('bob');
select lives_ok(
  $$ insert into api.todos (id, text) values ('00000000-0000-7000-8000-000000000001', 'bobs') $$,
  'two profiles can use the same id'
);
select set_eq(
  'select profile_id, text from app.todos', $$ values ('bob', 'bobs') $$,
  'a profile can read its own todos only'
);
select is(
  refusal(format('select api.%s(%L)', function, '00000000-0000-7000-8000-000000000002')),
  '404 not_found Todo not found', function || ': a todo of another profile is not found'
)
from unnest(array['toggle_todo', 'delete_todo']) as function;
update api.todos set text = 'bob was here';
delete from app.todos where text like 'alices%';
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.todos (profile_id, text) values ('alice', 'forged') $$,
  $$ insert into api.todos (text, created_at) values ('x', '2001-01-01') $$,
  $$ update api.todos set id = gen_random_uuid() $$,
  $$ update api.todos set created_at = now() $$,
  $$ update app.todos set profile_id = 'alice' $$,
  $$ delete from api.todos $$,
  $$ truncate app.todos $$
]) as statement;
select authenticate_as('bob', 'auditor');
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  'select * from api.todos', 'select * from app.todos',
  $$ insert into api.todos (text) values ('x') $$,
  $$ select api.toggle_todo('00000000-0000-7000-8000-000000000001') $$,
  $$ select api.delete_todo('00000000-0000-7000-8000-000000000001') $$
]) as statement;
select authenticate_as('bob', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  'select * from api.todos', 'select * from app.todos',
  $$ insert into api.todos (text) values ('x') $$,
  $$ select api.toggle_todo('00000000-0000-7000-8000-000000000001') $$,
  $$ select api.delete_todo('00000000-0000-7000-8000-000000000001') $$
]) as statement;
select as_dba();
select set_eq(
  $$ select profile_id, text, completed from app.todos where profile_id in ('alice', 'bob') $$,
  $$ values ('alice', 'alices', true), ('alice', 'alices', false), ('bob', 'bob was here', false) $$,
  'the todos of alice are unchanged'
);
select lives_ok(
  $$ update app.todos set completed = true where profile_id = 'alice' $$,
  'a DBA can change several rows at once'
);

select finish();
rollback;
