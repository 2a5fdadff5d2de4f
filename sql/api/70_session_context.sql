-- The records of one session that the chat prompt uses.

create or replace function api.session_context(session_id text default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform app.require_argument('session_id', session_context.session_id is not null);
  -- One statement reads one snapshot.
  return pg_catalog.jsonb_build_object(
    'session_id', session_context.session_id,
    'binding', (
      select pg_catalog.to_jsonb(binding)
      from api.session_repo_bindings as binding
      where binding.session_id = session_context.session_id
    ),
    'misalignments', (
      select coalesce(
        pg_catalog.jsonb_agg(
          pg_catalog.to_jsonb(misalignment) order by misalignment.created_at, misalignment.id
        ),
        '[]'
      )
      from api.misalignments as misalignment
      where misalignment.session_id = session_context.session_id
        and misalignment.status <> 'dismissed'
    ),
    'unfinished_tool_events', (
      select coalesce(
        pg_catalog.jsonb_agg(pg_catalog.to_jsonb(event) order by event.started_at, event.id),
        '[]'
      )
      from api.tool_events as event
      where event.session_id = session_context.session_id
        and event.status in ('pending', 'executing')
    ),
    'counts', pg_catalog.jsonb_build_object(
      'tool_events', (
        select pg_catalog.jsonb_build_object(
          'pending', pg_catalog.count(*) filter (where event.status = 'pending'),
          'executing', pg_catalog.count(*) filter (where event.status = 'executing'),
          'succeeded', pg_catalog.count(*) filter (where event.status = 'succeeded'),
          'failed', pg_catalog.count(*) filter (where event.status = 'failed')
        )
        from api.tool_events as event
        where event.session_id = session_context.session_id
      ),
      'misalignments', (
        select pg_catalog.jsonb_build_object(
          'open', pg_catalog.count(*) filter (where misalignment.status = 'open'),
          'acknowledged', pg_catalog.count(*) filter (where misalignment.status = 'acknowledged'),
          'dismissed', pg_catalog.count(*) filter (where misalignment.status = 'dismissed')
        )
        from api.misalignments as misalignment
        where misalignment.session_id = session_context.session_id
      ),
      'hookify_decisions', (
        select pg_catalog.jsonb_build_object(
          'blocked', pg_catalog.count(*) filter (where decision.blocked),
          'allowed', pg_catalog.count(*) filter (where not decision.blocked)
        )
        from api.hookify_decisions as decision
        where decision.session_id = session_context.session_id
      )
    )
  );
end
$$;
comment on function api.session_context(text) is
'The records of a session that the chat prompt uses, in one snapshot
An object of session_id, binding (or null), misalignments (those not dismissed, oldest first),
unfinished_tool_events (oldest first) and counts by status; rows have the columns of their views.

- session_id: Required. The session';
grant execute on function api.session_context(text) to authenticated;
