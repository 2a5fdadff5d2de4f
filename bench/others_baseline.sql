-- The same rows in the baseline tables. These do not separate profiles, so the rows are inserted only
-- after the lists were measured.

insert into api.baseline_tool_events
select
  id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result, error,
  context_events, started_at, completed_at,
  round(extract(epoch from completed_at - started_at) * 1000)
from app.tool_events
where profile_id like 'other-%%';

insert into api.baseline_hookify_decisions (
  id, session_id, source, content_hash, severity, blocked, rules
)
select id, session_id, source, content_hash, severity, blocked, rules
from app.hookify_decisions
where profile_id like 'other-%%';

insert into api.baseline_misalignments (
  id, session_id, rule_id, title, summary, severity, status, evidence
)
select id, session_id, rule_id, title, summary, severity, status, evidence
from app.misalignments
where profile_id like 'other-%%';

insert into api.baseline_todos
select id, text, completed, created_at from app.todos where profile_id like 'other-%%';

insert into api.baseline_session_repo_bindings
select session_id, asset_path, root_dir, updated_at
from app.session_repo_bindings
where profile_id like 'other-%%' on conflict do nothing;

insert into api.baseline_ui_settings
select profile_id, settings, revision, updated_at
from app.ui_settings
where profile_id like 'other-%%';
