-- Domain 4: todos.

create or replace view api.todos
with (security_invoker = true) as
select
  todo.id,
  todo.text,
  todo.completed,
  todo.created_at
from app.todos as todo;

comment on view api.todos is
'The profile''s list of todos
List it in the app''s order with ?order=created_at,id. PATCH changes one row: name it with ?id=eq.…';
comment on column api.todos.id is 'The todo''s id, a UUID; made here where none is given';
comment on column api.todos.text is 'What to do, kept as typed; not blank';
comment on column api.todos.completed is 'Whether it is done';
comment on column api.todos.created_at is 'When it was added';
grant select on api.todos to authenticated;
grant insert (id, text, completed) on api.todos to authenticated;
grant update (text, completed) on api.todos to authenticated;

create or replace function api.toggle_todo(id uuid) returns api.todos
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  update app.todos as todo
  set completed = not todo.completed
  where todo.profile_id = me and todo.id = toggle_todo.id;
  if not found then
    perform app.raise_error(404, 'not_found', 'Todo not found');
  end if;

  select * into strict answer from api.todos as todo where todo.id = toggle_todo.id;
  return answer;
end
$$;
comment on function api.toggle_todo(uuid) is
'Turn a todo from open to done, or back
Gives the todo as it is then. Two toggles at once both count.';
grant execute on function api.toggle_todo(uuid) to authenticated;

create or replace function api.delete_todo(id uuid) returns api.todos
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  perform from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id
  for update;
  if not found then
    perform app.raise_error(404, 'not_found', 'Todo not found');
  end if;

  select * into strict answer from api.todos as todo where todo.id = delete_todo.id;
  delete from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id;
  return answer;
end
$$;
comment on function api.delete_todo(uuid) is
'Delete a todo
Gives the todo as it was.';
grant execute on function api.delete_todo(uuid) to authenticated;
