-- What a replication client such as Electric needs. It reads tables, not views, and does not honour
-- row-level security, so it gets these tables alone, and the app authorises its shapes.

alter table app.tool_events replica identity full;
alter table app.misalignments replica identity full;
alter table app.todos replica identity full;
alter table app.session_repo_bindings replica identity full;
alter table app.ui_settings replica identity full;

create publication sessionbase for table
  app.tool_events,
  app.misalignments,
  app.todos,
  app.session_repo_bindings,
  app.ui_settings
-- latency_ms is one: an identity of all columns needs them all published.
with (publish_generated_columns = stored);
comment on publication sessionbase is 'The tables that clients live-sync.';

create policy select_all on app.tool_events for select to sessionbase_replicator using (true);
create policy select_all on app.misalignments for select to sessionbase_replicator using (true);
create policy select_all on app.todos for select to sessionbase_replicator using (true);
create policy select_all on app.session_repo_bindings for select to sessionbase_replicator
using (true);
create policy select_all on app.ui_settings for select to sessionbase_replicator using (true);

grant select on
app.tool_events, app.misalignments, app.todos, app.session_repo_bindings, app.ui_settings
to sessionbase_replicator;
