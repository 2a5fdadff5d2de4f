-- Rows of one profile in all domains. The caller switches triggers and foreign keys off
-- (session_replication_role = replica), so that millions of rows take minutes and not hours; the hashes
-- of the decisions are therefore not real ones.

insert into app.tool_events (
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result, error,
  started_at, completed_at
)
select
  %(profile)s, 'tool_' || gen_random_uuid(), 's' || n / 100, 'thread_' || n / 20, 'call_' || n,
  'get_timeline_event', outcome.status,
  jsonb_build_object('sessionId', 's' || n / 100, 'eventNumber', n),
  case when outcome.status = 'succeeded' then '{"found": true, "type": "message"}'::jsonb end,
  case when outcome.status = 'failed' then 'the tool timed out' end,
  outcome.started_at,
  case
    when outcome.status in ('succeeded', 'failed') then outcome.started_at + interval '80 ms'
  end
from generate_series(1, %(events)s) as n
cross join lateral (
  select
    timestamptz '2026-01-01' + n * interval '1 second' as started_at,
    case n %% 1000 when 0 then 'pending' when 1 then 'executing' when 2 then 'failed'
      else 'succeeded' end as status
) as outcome;

insert into app.tool_event_transitions (
  profile_id, tool_event_id, from_status, to_status, changed_at, changed_by
)
select event.profile_id, event.id, entry.from_status, entry.to_status, entry.changed_at, %(profile)s
from app.tool_events as event
cross join lateral (
  values
  (null, case event.status when 'pending' then 'pending' else 'executing' end, event.started_at),
  ('executing', event.status, event.completed_at)
) as entry (from_status, to_status, changed_at)
where event.profile_id = %(profile)s and entry.changed_at is not null;

insert into app.hookify_decisions (
  profile_id, position, id, session_id, source, content_hash, severity, blocked, rules, created_at,
  previous_hash, row_hash
)
select
  %(profile)s, n, 'hook_' || gen_random_uuid(), 's' || n / 100, 'manual',
  encode(sha256(n::text::bytea), 'hex'), 'low', false, '[{"id": "r1", "severity": "low"}]',
  timestamptz '2026-01-01' + n * interval '1 second', repeat('0', 64), repeat('0', 64)
from generate_series(1, %(decisions)s) as n;

insert into app.hookify_chains (profile_id, length)
select %(profile)s, %(decisions)s;

insert into app.misalignments (
  profile_id, session_id, id, rule_id, title, summary, status, created_at, updated_at
)
select
  %(profile)s, 's' || n / 20, 'mis-' || n, 'r' || n %% 50, 'A heading', 'what happened',
  case n %% 10 when 0 then 'open' else 'dismissed' end,
  timestamptz '2026-01-01' + n * interval '1 second',
  timestamptz '2026-01-01' + n * interval '1 second'
from generate_series(1, %(misalignments)s) as n;

insert into app.misalignment_transitions (
  profile_id, session_id, misalignment_id, number, from_status, to_status, changed_at, changed_by
)
select
  misalignment.profile_id, misalignment.session_id, misalignment.id, entry.number, entry.from_status,
  entry.to_status, misalignment.created_at + entry.number * interval '1 second', %(profile)s
from app.misalignments as misalignment
cross join lateral (
  values (1, null, 'open'), (2, 'open', misalignment.status)
) as entry (number, from_status, to_status)
where misalignment.profile_id = %(profile)s
  and entry.from_status is distinct from entry.to_status;

insert into app.todos (profile_id, text, completed, created_at)
select
  %(profile)s, 'todo ' || n, n %% 10 > 0, timestamptz '2026-01-01' + n * interval '1 second'
from generate_series(1, %(todos)s) as n;

insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
select %(profile)s, 's' || n, '/assets/a' || n, '/repos/r' || n
from generate_series(1, %(bindings)s) as n;

insert into app.ui_settings (profile_id, settings)
select %(profile)s, %(settings)s;
