-- Domain 3: the rules of misalignments.

create or replace function app.is_legal_misalignment_transition(from_status text, to_status text)
returns boolean
language sql
immutable
security invoker
parallel safe
set search_path = ''
as $$
  select coalesce(
    case is_legal_misalignment_transition.from_status
      when 'open' then is_legal_misalignment_transition.to_status in ('acknowledged', 'dismissed')
      when 'acknowledged' then is_legal_misalignment_transition.to_status in ('dismissed', 'open')
      when 'dismissed' then is_legal_misalignment_transition.to_status in ('acknowledged', 'open')
    end,
    is_legal_misalignment_transition.from_status is null
    and is_legal_misalignment_transition.to_status in ('open', 'acknowledged', 'dismissed')
  )
$$;
comment on function app.is_legal_misalignment_transition(text, text) is
'The state machine of a misalignment. From null: the statuses that one may be ingested with.';
grant execute on function app.is_legal_misalignment_transition(text, text) to authenticated;

create or replace function app.guard_misalignment() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.previous_status := old.previous_status;
  if app.is_legal_misalignment_transition(old.status, new.status) then
    new.previous_status := old.status;
  elsif new.status <> old.status
    -- The constraint status_known refuses an unknown status, with its own message.
    and app.is_legal_misalignment_transition(null, new.status) then
    perform app.raise_error(
      409, 'illegal_transition',
      pg_catalog.format('Cannot transition misalignment from %s to %s', old.status, new.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status)
    );
  end if;
  new.updated_at := app.next_timestamp(old.updated_at);
  return new;
end
$$;
comment on function app.guard_misalignment() is
'Trigger: refuses an illegal transition by every role, keeps the previous status and sets updated_at.';

create or replace function app.start_misalignment() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.updated_at := coalesce(new.updated_at, new.created_at);
  return new;
end
$$;
comment on function app.start_misalignment() is
'Trigger: updated_at of a new misalignment is its created_at.';

create or replace function app.log_misalignment_transition() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
  -- The log of an imported profile is imported too. The setting saves the call in all other cases.
  if coalesce(pg_catalog.current_setting('sessionbase.imported_profile', true), '') <> ''
    and new.profile_id = app.imported_profile() then
    return null;
  end if;
  -- The statement holds the row lock of the misalignment, so that no two entries get one number.
  insert into app.misalignment_transitions (
    profile_id, session_id, misalignment_id, number, from_status, to_status
  )
  select
    new.profile_id, new.session_id, new.id,
    coalesce(max(entry.number), 0) + 1,
    case when tg_op = 'UPDATE' then old.status end,
    new.status
  from app.misalignment_transitions as entry
  where entry.profile_id = new.profile_id
    and entry.session_id = new.session_id
    and entry.misalignment_id = new.id;
  return null;
end
$$;
comment on function app.log_misalignment_transition() is
'Trigger: logs the status that a misalignment enters.
SECURITY DEFINER so that no client role needs INSERT on the log, and none can forge an entry.';
