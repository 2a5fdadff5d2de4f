-- The tables that the endpoints are compared with: the same columns in the same schema, served by the
-- same PostgREST, but without row-level security, triggers, checks and log. They exist only in the
-- throwaway database of the bench.

set role sessionbase_owner;

create table api.baseline_tool_events (
  id text primary key,
  session_id text,
  thread_id text,
  tool_call_id text,
  tool_name text,
  status text,
  arguments jsonb,
  result jsonb,
  error text,
  context_events jsonb,
  started_at timestamptz default clock_timestamp(),
  completed_at timestamptz,
  latency_ms bigint
) with (fillfactor = 80);
create index on api.baseline_tool_events (session_id, started_at, id);

create table api.baseline_hookify_decisions (
  position bigint generated always as identity,
  id text primary key,
  session_id text,
  source text,
  content_hash text,
  severity text,
  blocked boolean,
  rules jsonb,
  message text,
  annotations text,
  created_at timestamptz default clock_timestamp(),
  previous_hash text default repeat('0', 64),
  row_hash text default repeat('0', 64)
);
create index on api.baseline_hookify_decisions (session_id, position);

create table api.baseline_misalignments (
  id text primary key,
  session_id text,
  rule_id text,
  title text,
  summary text,
  severity text,
  status text,
  previous_status text,
  event_range jsonb,
  evidence jsonb,
  created_at timestamptz default clock_timestamp(),
  updated_at timestamptz default clock_timestamp()
) with (fillfactor = 80);
create index on api.baseline_misalignments (session_id, created_at, id);

create table api.baseline_todos (
  id uuid primary key,
  text text,
  completed boolean default false,
  created_at timestamptz default clock_timestamp()
);
create index on api.baseline_todos (created_at, id);

create table api.baseline_session_repo_bindings (
  session_id text primary key,
  asset_path text,
  root_dir text,
  updated_at timestamptz default clock_timestamp()
);

create table api.baseline_ui_settings (
  profile_id text primary key,
  settings jsonb,
  revision bigint,
  updated_at timestamptz default clock_timestamp()
);

grant select, insert, update, delete on all tables in schema api to authenticated;
notify pgrst, 'reload schema';
