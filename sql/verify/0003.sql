-- The hash of one decision must be the same on every server: row_hash of every stored decision was
-- computed by this function. Another version of PostgreSQL that writes jsonb or a time in another way
-- would make every chain invalid.
select
  'app.hookify_decision_hash' as function,
  pg_catalog.current_setting('server_version') as server,
  hashed.hash
from (
  select
    app.hookify_decision_hash(
      row(
        'profile', 1, 'hook_1', 'session', 'manual', pg_catalog.repeat('a', 64), 'low', true,
        '[{"severity": "low", "id": "é", "n": 1.50}]', null, e'line\nbreak',
        '2026-11-25 12:00:00.000001+02', pg_catalog.repeat('0', 64), ''
      )::app.hookify_decisions
    ) as hash
) as hashed
where hashed.hash <> 'ef35b1a8d3c1101b5948eb69184ee222f052ec75686c1f49b6ce8f5601553852';

-- A chain that exists already ends with its newest decision. Ten chains are enough to find a mistake
-- of the migration, and it reads two rows of each by the primary key.
select
  chain.profile_id,
  chain.length,
  chain.head_hash
from (
  select head.profile_id, head.length, head.head_hash
  from app.hookify_chains as head
  order by head.profile_id
  limit 10
) as chain
left join app.hookify_decisions as decision
  on decision.profile_id = chain.profile_id and decision.position = chain.length
where chain.length > 0 and decision.row_hash is distinct from chain.head_hash;
