-- Domain 5: session-to-repository bindings.

create or replace view api.session_repo_bindings
with (security_invoker = true) as
select
  binding.session_id,
  binding.asset_path,
  binding.root_dir,
  binding.updated_at
from app.session_repo_bindings as binding;

comment on view api.session_repo_bindings is
'The repository that each session works on
Clear the binding of a session with DELETE and ?session_id=eq.S; without a binding it does nothing.';
comment on column api.session_repo_bindings.session_id is 'The session; it has one binding at most';
comment on column api.session_repo_bindings.asset_path is 'The session''s asset';
comment on column api.session_repo_bindings.root_dir is 'The root folder of the repository';
comment on column api.session_repo_bindings.updated_at is 'When the binding was last set';
grant select, delete on api.session_repo_bindings to authenticated;

create or replace function api.set_session_repo_binding(
  session_id text default null, asset_path text default null, root_dir text default null
) returns api.session_repo_bindings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  answer api.session_repo_bindings;
  violation app.violation;
begin
  begin
    insert into app.session_repo_bindings (session_id, asset_path, root_dir)
    values (
      set_session_repo_binding.session_id,
      set_session_repo_binding.asset_path,
      set_session_repo_binding.root_dir
    )
    on conflict (profile_id, session_id) do update
    set asset_path = excluded.asset_path, root_dir = excluded.root_dir;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violation.table_name = table_name,
        violation.constraint_name = constraint_name,
        violation.column_name = column_name;
      perform app.refuse_row(violation);
  end;

  select * into strict answer
  from api.session_repo_bindings as binding
  where binding.session_id = set_session_repo_binding.session_id;
  return answer;
end
$$;
comment on function api.set_session_repo_binding(text, text, text) is
'Set the repository that a session works on
Replaces the binding of the session. updated_at becomes later at each call.

- session_id: Required. The session
- asset_path: Required. The session''s asset
- root_dir: Required. The root folder of the repository';
grant execute on function api.set_session_repo_binding(text, text, text) to authenticated;
