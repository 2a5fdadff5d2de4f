-- Import and erasure of a whole profile.

create or replace function app.profile_row_counts(profile_id text) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select pg_catalog.jsonb_build_object(
    'tool_events', (
      select pg_catalog.count(*) from app.tool_events as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'tool_event_transitions', (
      select pg_catalog.count(*) from app.tool_event_transitions as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'hookify_chains', (
      select pg_catalog.count(*) from app.hookify_chains as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'hookify_decisions', (
      select pg_catalog.count(*) from app.hookify_decisions as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'misalignments', (
      select pg_catalog.count(*) from app.misalignments as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'misalignment_transitions', (
      select pg_catalog.count(*) from app.misalignment_transitions as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'todos', (
      select pg_catalog.count(*) from app.todos as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'session_repo_bindings', (
      select pg_catalog.count(*) from app.session_repo_bindings as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'cleared_session_repo_bindings', (
      select pg_catalog.count(*) from app.cleared_session_repo_bindings as stored
      where stored.profile_id = profile_row_counts.profile_id
    ),
    'ui_settings', (
      select pg_catalog.count(*) from app.ui_settings as stored
      where stored.profile_id = profile_row_counts.profile_id
    )
  )
$$;
comment on function app.profile_row_counts(text) is
'How many rows of a profile each table has: all tables with rows of a profile, except app.profile_log.';

create or replace function app.describe_row_counts(row_counts jsonb) returns text
language sql
immutable
security invoker
parallel safe
set search_path = ''
as $$
  select pg_catalog.string_agg(
    pg_catalog.format('%s: %s', counted.key, counted.value), ', ' order by counted.key
  )
  from pg_catalog.jsonb_each_text(describe_row_counts.row_counts) as counted
  where counted.value <> '0'
$$;
comment on function app.describe_row_counts(jsonb) is
'The tables that have rows, with their counts, as a text; null if none has.';

create or replace function app.is_current_profile_log_entry(
  profile_id text, action text
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select
    from app.profile_log as entry
    where entry.profile_id = is_current_profile_log_entry.profile_id
      and entry.action = is_current_profile_log_entry.action
      -- The time too: after a restore into another cluster, transaction ids are used again.
      and entry.transaction_id = pg_catalog.pg_current_xact_id_if_assigned()
      and entry.done_at = pg_catalog.transaction_timestamp()
  )
$$;
comment on function app.is_current_profile_log_entry(text, text) is
'Whether this transaction has written an entry about this action on the profile to app.profile_log.';

create or replace function app.imported_profile() returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  -- Set by app.start_profile_log_entry. On its own it permits nothing.
  named constant text := pg_catalog.current_setting('sessionbase.imported_profile', true);
begin
  if named <> '' and app.is_current_profile_log_entry(named, 'import') then
    return named;
  end if;
  return null;
end
$$;
comment on function app.imported_profile() is
'The profile that this transaction imports; null in any other transaction. The triggers that compute
values or write a log do neither for its rows.';

create or replace function app.start_profile_log_entry() returns trigger
language plpgsql
volatile -- So that each query sees what was committed before the lock was obtained.
security invoker
set search_path = ''
as $$
declare
  counts jsonb;
  chain app.hookify_chains;
begin
  if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a profile can be imported or erased only in a READ COMMITTED transaction'
      using errcode = 'invalid_transaction_state';
  end if;
  -- Waits for the requests that write to the profile; app.check_request refuses new ones.
  perform app.lock_profile(new.profile_id, exclusive => true);

  new.number := 1 + coalesce(
    (
      select pg_catalog.max(entry.number)
      from app.profile_log as entry
      where entry.profile_id = new.profile_id
    ),
    0
  );
  new.done_at := pg_catalog.transaction_timestamp();
  new.done_by := session_user;
  new.transaction_id := pg_catalog.pg_current_xact_id();

  counts := app.profile_row_counts(new.profile_id);
  if new.action = 'erase' then
    select * into chain
    from app.hookify_chains as head
    where head.profile_id = new.profile_id;
    new.row_counts := counts;
    new.chain_length := coalesce(chain.length, 0);
    new.chain_head_hash := coalesce(chain.head_hash, pg_catalog.repeat('0', 64));
    new.history := '[]';
  elsif app.describe_row_counts(counts) is not null then
    raise exception 'the profile has rows here: %', app.describe_row_counts(counts)
      using errcode = 'object_not_in_prerequisite_state';
  else
    perform pg_catalog.set_config('sessionbase.imported_profile', new.profile_id, true);
  end if;
  return new;
end
$$;
comment on function app.start_profile_log_entry() is
'Trigger: locks the profile against the writes of clients until the end of the transaction, and sets the
columns that nobody may choose. An import is refused if the profile has rows.';

create or replace function app.require_complete_profile() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  counts constant jsonb := app.profile_row_counts(new.profile_id);
begin
  if new.action = 'erase' then
    if app.describe_row_counts(counts) is not null then
      raise exception 'the erasure is not complete: %', app.describe_row_counts(counts)
        using errcode = 'restrict_violation';
    end if;
  elsif counts <> new.row_counts or (new.chain_length, new.chain_head_hash) is distinct from (
    coalesce(
      (select head.length from app.hookify_chains as head where head.profile_id = new.profile_id),
      0
    ),
    coalesce(
      (
        select head.head_hash from app.hookify_chains as head
        where head.profile_id = new.profile_id
      ),
      pg_catalog.repeat('0', 64)
    )
  ) then
    raise exception 'the import is not complete: the profile has %',
      coalesce(app.describe_row_counts(counts), 'no rows')
      using errcode = 'restrict_violation';
  end if;
  return null;
end
$$;
comment on function app.require_complete_profile() is
'Trigger, at the commit: an erased profile has no rows, an imported one has those of its entry.';

create or replace function app.require_erasure() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if exists (
    select
    from (select distinct deleted.profile_id from deleted_rows as deleted) as affected
    where not app.is_current_profile_log_entry(affected.profile_id, 'erase')
  ) then
    raise exception '% of %.% is refused: it is append-only', tg_op, tg_table_schema, tg_table_name
      using
        errcode = 'restrict_violation',
        hint = 'sessionbase profile erase deletes all rows of a profile, and logs it';
  end if;
  return null;
end
$$;
comment on function app.require_erasure() is
'Trigger of append-only tables: refuses DELETE by every role, except of rows whose profile has an erasure
entry of this transaction in app.profile_log.';
