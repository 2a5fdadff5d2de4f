-- Domain 4: adding a todo.

create or replace function app.insert_todo() returns trigger
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
comment on function app.insert_todo() is
'Trigger of the view api.todos: a repeated insert with the same id and text returns the stored todo,
another text under the same id is refused with 409 id_taken.';
