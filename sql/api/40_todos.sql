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
'The todos of the profile
List them in the app''s order with ?order=created_at,id. POST with an id can be repeated safely. PATCH
changes one row: name it with ?id=eq.…';
comment on column api.todos.id is 'The id, a UUID; generated if omitted';
comment on column api.todos.text is 'The text, stored as typed; not blank';
comment on column api.todos.completed is 'Whether it is done';
comment on column api.todos.created_at is 'When it was added';
grant select on api.todos to authenticated;
grant insert (id, text, completed) on api.todos to authenticated;
grant update (text, completed) on api.todos to authenticated;

create or replace function api.insert_todo() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
  stored app.todos;
begin
  loop
    insert into app.todos (id, text, completed)
    values (coalesce(new.id, app.uuidv7()), new.text, coalesce(new.completed, false))
    on conflict (profile_id, id) do nothing
    returning * into stored;
    if found then
      perform app.mark_changed();
      exit;
    end if;

    select * into stored
    from app.todos as todo
    where todo.profile_id = (select app.profile_id()) and todo.id = new.id;
    if found then
      -- completed is not compared: it can have been toggled since.
      if stored.text <> new.text then
        perform app.raise_error(
          409, 'id_taken',
          pg_catalog.format('Todo %s is already stored with another text', new.id),
          pg_catalog.jsonb_build_object('id', new.id, 'differs', array['text']),
          'Use another id, or omit it: then one is generated'
        );
      end if;
      perform app.mark_unchanged();
      exit;
    end if;
    -- It was deleted between the two statements: insert again.
  end loop;

  new.id := stored.id;
  new.text := stored.text;
  new.completed := stored.completed;
  new.created_at := stored.created_at;
  return new;
end
$$;
comment on function api.insert_todo() is
'Trigger of the view todos: a repeated insert with the same id and text returns the stored todo,
another text under the same id is refused with 409 id_taken.';

-- An INSERT into a view with this trigger can return a row that is stored already.
create or replace trigger insert_todo instead of insert on api.todos
for each row execute function api.insert_todo();

create or replace function api.add_todo(text text default null, id uuid default null)
returns api.todos
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  result api.todos;
begin
  insert into api.todos (id, text)
  values (add_todo.id, add_todo.text)
  returning * into strict result;
  return result;
end
$$;
comment on function api.add_todo(text, uuid) is
'Add a todo
Returns the stored todo. A repeated call with the same id and text returns it again, also after it was
toggled; another text under the same id is refused with 409 id_taken.

- text: Required. The text; not blank
- id: The id, a UUID; generated if omitted. Send one to be able to repeat the call safely';
grant execute on function api.add_todo(text, uuid) to authenticated;

create or replace function api.toggle_todo(id uuid default null) returns api.todos
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  perform app.require_argument('id', toggle_todo.id is not null);
  update app.todos as todo
  set completed = not todo.completed
  where todo.profile_id = me and todo.id = toggle_todo.id;
  if not found then
    perform app.raise_error(
      404, 'not_found', 'Todo not found', pg_catalog.jsonb_build_object('id', toggle_todo.id)
    );
  end if;

  select * into strict answer from api.todos as todo where todo.id = toggle_todo.id;
  return answer;
end
$$;
comment on function api.toggle_todo(uuid) is
'Change a todo from open to done, or from done to open
Returns the todo after the change. Two concurrent toggles both take effect.

- id: Required. The todo';
grant execute on function api.toggle_todo(uuid) to authenticated;

create or replace function api.delete_todo(id uuid default null) returns api.todos
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  perform app.require_argument('id', delete_todo.id is not null);
  perform from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id
  for update;
  if not found then
    perform app.raise_error(
      404, 'not_found', 'Todo not found', pg_catalog.jsonb_build_object('id', delete_todo.id)
    );
  end if;

  select * into strict answer from api.todos as todo where todo.id = delete_todo.id;
  delete from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id;
  return answer;
end
$$;
comment on function api.delete_todo(uuid) is
'Delete a todo
Returns the deleted todo.

- id: Required. The todo';
grant execute on function api.delete_todo(uuid) to authenticated;
