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
'Which repository each session works on
Clear a session''s with DELETE and ?session_id=eq.S, which is quiet where there is none.';
comment on column api.session_repo_bindings.session_id is 'The session; it has one binding at most';
comment on column api.session_repo_bindings.asset_path is 'The session''s asset';
comment on column api.session_repo_bindings.root_dir is 'The root folder of the repository';
comment on column api.session_repo_bindings.updated_at is 'When the binding was last set';
grant select, delete on api.session_repo_bindings to authenticated;

create or replace function api.set_session_repo_binding(
  session_id text, asset_path text, root_dir text
) returns api.session_repo_bindings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  answer api.session_repo_bindings;
  violated_table text;
  violated_constraint text;
  violated_column text;
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
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;

  select * into strict answer
  from api.session_repo_bindings as binding
  where binding.session_id = set_session_repo_binding.session_id;
  return answer;
end
$$;
comment on function api.set_session_repo_binding(text, text, text) is
'Say which repository a session works on
Replaces the binding that the session has. updated_at moves at each call.';
grant execute on function api.set_session_repo_binding(text, text, text) to authenticated;
