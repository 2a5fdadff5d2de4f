-- The rows that the list cases read, the same on both sides.

insert into app.tool_events (profile_id, id, session_id, tool_call_id, tool_name, status,
arguments, result, context_events, started_at, completed_at)
select %(profile)s, 'l' || n, 'list', n::text, 'get_timeline_event', 'succeeded',
%(arguments)s, %(result)s, %(context)s, now() + n * interval '1 s',
now() + n * interval '1.1 s' from generate_series(1, %(rows)s) as n;

insert into api.baseline_tool_events select id, session_id, thread_id, tool_call_id, tool_name,
status, arguments, result, error, context_events, started_at, completed_at,
  round(extract(epoch from completed_at - started_at) * 1000)
from app.tool_events where profile_id = %(profile)s;

insert into app.hookify_decisions (profile_id, id, session_id, source, content_hash, severity,
blocked, rules) select %(profile)s, 'l' || n, 'list', 'manual',
encode(sha256(n::text::bytea), 'hex'), 'low', false, '[{"id": "r", "severity": "low"}]'
from generate_series(1, %(rows)s) as n;

insert into api.baseline_hookify_decisions (id, session_id, source, content_hash, severity,
blocked, rules) select id, session_id, source, content_hash, severity, blocked, rules
from app.hookify_decisions where profile_id = %(profile)s order by position;

insert into app.misalignments (profile_id, id, session_id, rule_id, title, summary, evidence)
select %(profile)s, 'l' || n, 'list', 'r', 'A heading', repeat('what happened ', 10),
%(evidence)s from generate_series(1, %(rows)s) as n;

insert into api.baseline_misalignments (id, session_id, rule_id, title, summary, severity, status,
evidence) select id, session_id, rule_id, title, summary, severity, status, evidence
from app.misalignments where profile_id = %(profile)s order by created_at;

insert into app.todos (profile_id, text) select %(profile)s, 'todo ' || n
from generate_series(1, %(rows)s) as n;

insert into api.baseline_todos select id, text, completed, created_at from app.todos
where profile_id = %(profile)s;

insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
select %(profile)s, 's' || n, '/assets/a', '/repos/r'
from generate_series(1, %(rows)s) as n;

insert into api.baseline_session_repo_bindings select session_id, asset_path, root_dir, updated_at
from app.session_repo_bindings where profile_id = %(profile)s;

insert into app.ui_settings (profile_id, settings)
values (%(profile)s, %(settings)s);

insert into api.baseline_ui_settings select profile_id, settings, revision, updated_at
from app.ui_settings where profile_id = %(profile)s;
