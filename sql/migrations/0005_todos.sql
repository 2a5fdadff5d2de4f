-- Domain 4: the todos of a profile. Clients insert and update them through the view api.todos.

create table app.todos (
  profile_id text not null default app.profile_id(),
  id uuid not null default app.uuidv7(),
  text text not null,
  completed boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  -- A text is blank if JavaScript's trim() returns the empty string for it.
  constraint text_not_blank check (
    app.assert_check(
      btrim(
        text,
        e' \t\n\x0b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff'
      ) <> '',
      'todos',
      'text_not_blank'
    )
  ),
  constraint text_size check (
    app.assert_check(octet_length(text) <= 65536, 'todos', 'text_size')
  )
);
comment on table app.todos is 'The todos of a profile; a profile has one list.';
comment on column app.todos.profile_id is 'The profile that the todo belongs to';
comment on column app.todos.id is 'Given by the caller or generated';
comment on column app.todos.text is 'The text, as typed';
comment on column app.todos.completed is 'Whether it is done';
comment on column app.todos.created_at is 'When it was added, by the database''s clock';
comment on constraint profile_id_length on app.todos is 'The profile id must have 1 to 200 bytes';
comment on constraint text_not_blank on app.todos is 'text must not be blank';
comment on constraint text_size on app.todos is 'text may have 64 KiB at most';

-- GET /todos?order=created_at,id
create index todos_by_time on app.todos (profile_id, created_at, id);
alter table app.todos add primary key (profile_id, id);

create trigger require_columns before insert or update on app.todos
for each row execute function app.require_columns('text', 'completed');
create trigger refuse_bulk_change after update on app.todos
referencing new table as changed_rows
for each statement execute function app.refuse_bulk_change('id');

alter table app.todos enable row level security;
create policy no_estimates on app.todos as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.todos for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.todos for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.todos for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));
create policy delete_own on app.todos for delete to authenticated
using (profile_id = (select app.profile_id()));

grant select, delete on app.todos to authenticated;
grant insert (id, text, completed) on app.todos to authenticated;
grant update (text, completed) on app.todos to authenticated;
