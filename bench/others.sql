-- Rows of other profiles, so that no plan is made for an empty table.

insert into app.tool_events (profile_id, id, session_id, tool_call_id, tool_name, arguments)
select 'other-' || n %% 500, 'o' || n, 's' || n %% 997, n::text, 't', %(arguments)s
from generate_series(1, 50000) as n;

insert into app.hookify_decisions (
  profile_id, id, session_id, source, content_hash, severity, blocked, rules
)
select
  'other-' || n %% 500, 'o' || n, 's' || n %% 97, 'manual', encode(sha256(n::text::bytea), 'hex'),
  'low', false, '[{"id": "r", "severity": "low"}]'
from generate_series(1, 10000) as n;

insert into app.misalignments (profile_id, id, session_id, rule_id, title, summary, evidence)
select 'other-' || n %% 500, 'o' || n, 's' || n %% 97, 'r', 'A heading', 'what happened', %(evidence)s
from generate_series(1, 20000) as n;

insert into app.todos (profile_id, text)
select 'other-' || n %% 500, 'todo' from generate_series(1, 20000) as n;

insert into app.session_repo_bindings (profile_id, session_id, asset_path, root_dir)
select 'other-' || n %% 500, 's' || n, '/assets/a', '/repos/r' from generate_series(1, 20000) as n;

insert into app.ui_settings (profile_id, settings)
select 'other-' || n, %(settings)s from generate_series(1, 5000) as n;
