-- For replication clients such as Electric. Such a client reads tables, not views, and the policies of
-- the profiles do not apply to it. Replication is off here: `sessionbase replication enable TABLE` adds a table to
-- the publication, grants SELECT on it and sets its replica identity, which costs WAL.

create publication sessionbase;
comment on publication sessionbase is 'The tables that replication clients read; empty by default.';

create policy select_all on app.tool_events for select to sessionbase_replicator using (true);
create policy select_all on app.misalignments for select to sessionbase_replicator using (true);
create policy select_all on app.todos for select to sessionbase_replicator using (true);
create policy select_all on app.session_repo_bindings for select to sessionbase_replicator
using (true);
create policy select_all on app.ui_settings for select to sessionbase_replicator using (true);
