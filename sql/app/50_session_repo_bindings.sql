-- Domain 5: updated_at of a binding never becomes earlier, also if it is cleared and set again.

create or replace function app.touch_session_repo_binding() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.updated_at := app.next_timestamp(greatest(old.updated_at, new.updated_at));
  return new;
end
$$;
comment on function app.touch_session_repo_binding() is
'Trigger: updated_at becomes later at each set, even if nothing else changes.';

create or replace function app.keep_session_repo_binding_time() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  insert into app.cleared_session_repo_bindings as cleared (profile_id, session_id, updated_at)
  values (old.profile_id, old.session_id, old.updated_at)
  on conflict (profile_id, session_id) do update
  set updated_at = excluded.updated_at;
  return null;
end
$$;
comment on function app.keep_session_repo_binding_time() is
'Trigger: stores the last updated_at of a cleared binding.
SECURITY DEFINER so that no client role may write these times.';

create or replace function app.continue_session_repo_binding_time() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  -- After the insert, which waits for a concurrent clear: its time is visible only now.
  update app.session_repo_bindings as binding
  set updated_at = cleared.updated_at
  from app.cleared_session_repo_bindings as cleared
  where binding.profile_id = new.profile_id
    and binding.session_id = new.session_id
    and cleared.profile_id = new.profile_id
    and cleared.session_id = new.session_id
    and cleared.updated_at >= binding.updated_at;
  return null;
end
$$;
comment on function app.continue_session_repo_binding_time() is
'Trigger: a new binding is not older than the one that was cleared; the trigger touch adds to the time.
SECURITY DEFINER because no client role may read the times of cleared bindings or write updated_at.';
