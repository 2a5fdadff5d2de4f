-- Each append-only table refuses an UPDATE and a TRUNCATE (append_only), and a DELETE without an
-- erasure entry (erasure_only). A chain is only extended (forward_only), so its UPDATE is not refused.
-- tgtype: 8 delete, 16 update, 32 truncate.
select
  needed.table_name,
  needed.trigger_name
from (
  values
    ('app.tool_event_transitions', 'append_only', 48),
    ('app.tool_event_transitions', 'erasure_only', 8),
    ('app.hookify_chains', 'append_only', 32),
    ('app.hookify_chains', 'forward_only', 16),
    ('app.hookify_chains', 'erasure_only', 8),
    ('app.hookify_decisions', 'append_only', 48),
    ('app.hookify_decisions', 'erasure_only', 8),
    ('app.misalignment_transitions', 'append_only', 48),
    ('app.misalignment_transitions', 'erasure_only', 8)
) as needed (table_name, trigger_name, events)
left join pg_catalog.pg_trigger as trigger
  on trigger.tgrelid = needed.table_name::regclass
  and trigger.tgname = needed.trigger_name
  and trigger.tgtype & 56 = needed.events
  and trigger.tgenabled in ('O', 'A')
where trigger.oid is null;
