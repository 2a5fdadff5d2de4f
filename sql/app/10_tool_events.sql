-- Domain 1: the rules of tool events.

create or replace function app.is_legal_tool_event_transition(from_status text, to_status text)
returns boolean
language sql
immutable
security invoker
parallel safe
set search_path = ''
as $$
  select coalesce(
    case is_legal_tool_event_transition.from_status
      when 'pending' then
        is_legal_tool_event_transition.to_status in ('executing', 'succeeded', 'failed')
      when 'executing' then is_legal_tool_event_transition.to_status in ('succeeded', 'failed')
    end,
    is_legal_tool_event_transition.from_status is null
    and is_legal_tool_event_transition.to_status in ('pending', 'executing')
  )
$$;
comment on function app.is_legal_tool_event_transition(text, text) is
'The state machine of a tool event. From null: the statuses that an event may be recorded with.';
grant execute on function app.is_legal_tool_event_transition(text, text) to authenticated;

create or replace function app.require_tool_event_status(status text, field text) returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- A status is known if it can be entered: at the start, or from pending.
  if (
    app.is_legal_tool_event_transition(null, require_tool_event_status.status)
    or app.is_legal_tool_event_transition('pending', require_tool_event_status.status)
  ) is not true then
    perform app.refuse_row((
      'tool_events',
      case when require_tool_event_status.status is not null then 'status_known' end,
      require_tool_event_status.field
    ));
  end if;
end
$$;
comment on function app.require_tool_event_status(text, text) is
'Refuse a text that is not a status of a tool event. `field` is the argument or column with the text.';
grant execute on function app.require_tool_event_status(text, text) to authenticated;

create or replace function app.guard_tool_event() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if old.completed_at is null then
    if new.status = old.status then
      return new;
    elsif app.is_legal_tool_event_transition(old.status, new.status) then
      if new.status in ('succeeded', 'failed') then
        -- If the clock was set back, an event still must not finish before it started.
        new.completed_at := greatest(pg_catalog.clock_timestamp(), old.started_at);
      end if;
      return new;
    end if;
  elsif new is not distinct from old then
    return new;
  end if;

  -- Checked here because PostgreSQL checks constraints in the order of their names, and a row with an
  -- unknown status violates others before status_known.
  perform app.require_tool_event_status(new.status, 'status');
  if old.completed_at is not null then
    perform app.raise_error(
      409, 'already_finished',
      pg_catalog.format('Tool event %s has already finished as %s', old.id, old.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status, 'status', old.status)
    );
  end if;
  perform app.raise_error(
    409, 'illegal_transition',
    pg_catalog.format('Cannot transition tool event from %s to %s', old.status, new.status),
    pg_catalog.jsonb_build_object('from', old.status, 'to', new.status)
  );
  return null;
end
$$;
comment on function app.guard_tool_event() is
'Trigger: refuses an illegal transition and any change of a finished event, by every role, and sets
the completion time.';

create or replace function app.log_tool_event_transition() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
  if tg_level = 'STATEMENT' then
    -- One statement for all rows of an INSERT, which can be an import of many.
    insert into app.tool_event_transitions (profile_id, tool_event_id, to_status, changed_by)
    select started.profile_id, started.id, started.status, actor.name
    from started, (select app.actor() as name) as actor
    -- The log of an imported profile is imported too. The setting saves the call in all other cases.
    where coalesce(pg_catalog.current_setting('sessionbase.imported_profile', true), '') = ''
      or started.profile_id is distinct from (select app.imported_profile());
  else
    insert into app.tool_event_transitions (profile_id, tool_event_id, from_status, to_status)
    values (new.profile_id, new.id, old.status, new.status);
  end if;
  return null;
end
$$;
comment on function app.log_tool_event_transition() is
'Trigger: logs the status that an event enters.
SECURITY DEFINER so that no client role needs INSERT on the log, and none can forge an entry.';
