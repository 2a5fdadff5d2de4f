-- Identity, errors, and functions that the triggers of several tables use.

create or replace function app.raise_error(
  status integer, code text, message text, details jsonb default null, hint text default null
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  raise sqlstate 'PGRST' using
    message = pg_catalog.json_build_object(
      'code', raise_error.code,
      'message', raise_error.message,
      'details', raise_error.details::text,
      'hint', raise_error.hint
    )::text,
    detail = pg_catalog.json_build_object(
      'status', raise_error.status,
      'headers',
      case
        when raise_error.status = 401 then pg_catalog.json_build_object('WWW-Authenticate', 'Bearer')
        else pg_catalog.json_build_object()
      end
    )::text;
end
$$;
comment on function app.raise_error(integer, text, text, jsonb, text) is
'Raise an error that PostgREST turns into this HTTP status and a body with all four keys.
Text from a caller must only be in the JSON body: PostgREST 12 copies the message of a PTxyz error
into the status line without escaping it.';
grant execute on function
app.raise_error(integer, text, text, jsonb, text) to anon, authenticated, auditor;

create or replace function app.refuse_array_body() returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- Only an INSERT of PostgREST takes several rows.
  if pg_catalog.current_query() not like 'WITH pgrst_source AS (INSERT INTO %' then
    perform app.raise_error(
      400, 'invalid_argument', 'The body must be one JSON object; nothing was done', null,
      'Send one call per object'
    );
  end if;
end
$$;
comment on function app.refuse_array_body() is
'Refuses the request, unless it is an INSERT. It is called if the body is an array, of which a function
call or a PATCH would use one element and ignore the others. See docs/decisions/0011.';
grant execute on function app.refuse_array_body() to anon, authenticated, auditor;

create or replace function app.json_typeof(body json) returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if pg_catalog.json_typeof(json_typeof.body) = 'array' then
    perform app.refuse_array_body();
  end if;
  return pg_catalog.json_typeof(json_typeof.body);
end
$$;
comment on function app.json_typeof(json) is
'Refuses an array as the body of a function call or a PATCH. The SQL of PostgREST 12.0 calls json_typeof
without a schema, and db-extra-search-path puts app before pg_catalog. See docs/decisions/0011.';
grant execute on function app.json_typeof(json) to anon, authenticated, auditor;

create or replace function app.jsonb_typeof(body jsonb) returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if pg_catalog.jsonb_typeof(jsonb_typeof.body) = 'array' then
    perform app.refuse_array_body();
  end if;
  return pg_catalog.jsonb_typeof(jsonb_typeof.body);
end
$$;
comment on function app.jsonb_typeof(jsonb) is
'As app.json_typeof, for requests with the header Prefer: missing=default.';
grant execute on function app.jsonb_typeof(jsonb) to anon, authenticated, auditor;

create or replace function app.profile_id() returns text
language plpgsql
stable
security invoker
parallel safe
set search_path = ''
as $$
declare
  claims constant json := nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json;
  -- Null unless the claim is a JSON string: 7 and "7" must not be one profile. PostgREST 14 accepts
  -- a token whose "sub" is a number, an array or an object.
  subject constant text :=
    case pg_catalog.json_typeof(claims -> 'sub') when 'string' then claims ->> 'sub' end;
begin
  -- The SQL of PostgREST 12.2 and later for a body that is an array. For an object it calls
  -- json_to_record, and jsonb_array_elements not at all.
  if pg_catalog.current_query() like any (
    array[
      'WITH pgrst_source AS (%json_to_recordset(pgrst_payload.json_data)%',
      'WITH pgrst_source AS (%jsonb_array_elements(pgrst_payload.json_data)%'
    ]
  ) then
    perform app.refuse_array_body();
  end if;
  if subject is null or subject = '' then
    perform app.raise_error(
      401, 'no_profile', 'The token names no profile', null,
      'Send a JWT whose claim "sub" is the profile id, a text of 1 to 200 bytes'
    );
  elsif pg_catalog.octet_length(subject) > 200 then
    perform app.raise_error(
      401, 'no_profile', 'The profile id in the token has more than 200 bytes', null,
      'Send a JWT whose claim "sub" is the profile id, a text of 1 to 200 bytes'
    );
  end if;
  return subject;
end
$$;
comment on function app.profile_id() is
'The profile that the request acts for: the claim "sub" of its token. 401 no_profile without one.
Policies call it as (select app.profile_id()), so that it is evaluated once per statement. It also refuses
an array as the body of a function call or a PATCH, because every such request calls it.';
grant execute on function app.profile_id() to authenticated, auditor;

create or replace function app.actor() returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(
    case pg_catalog.json_typeof(token.claims -> 'sub')
      when 'string' then token.claims ->> 'sub'
    end,
    nullif(pg_catalog.current_setting('sessionbase.actor', true), ''),
    session_user::text
  )
  from (
    select nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json as claims
  ) as token
$$;
comment on function app.actor() is
'Who makes a change, for the logs: the profile of the token; without a token the setting
sessionbase.actor (the importer sets it to ''import'') or, if it is not set, the login.';

create or replace function app.check_request() returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  me text;
begin
  -- A deployment holds this lock alone while it replaces the views and functions of api. Without it, a
  -- call that had begun before would return rows of the old view's type and fail.
  perform pg_catalog.pg_advisory_xact_lock_shared(1936028531, 1);
  -- PostgreSQL updates its caches of views and functions when it locks a table, and not when it gets
  -- an advisory lock. The table is not read.
  perform from pg_catalog.pg_namespace where false;

  if current_user <> 'anon' then
    me := app.profile_id();
    if current_user = 'authenticated'
      and pg_catalog.current_setting('transaction_read_only') = 'off' then
      -- An import or erasure of the profile holds this lock alone. A write is refused and does not
      -- wait: waiting requests would use up PostgREST's connections, which all profiles share.
      if not app.lock_profile(me) then
        perform app.raise_error(
          503, 'profile_locked',
          'The profile is being imported or erased by an operator; nothing was done', null,
          'Repeat the call later'
        );
      end if;
    end if;
  elsif pg_catalog.current_setting('request.path', true) in (
    '/ui_settings', '/rpc/save_ui_settings', '/rpc/patch_ui_settings'
  ) then
    perform app.raise_error(
      403, 'guest_not_stored', 'Nothing was saved: the server keeps no settings for a guest', null,
      'Guest settings stay on the device; send a token to keep them here'
    );
  end if;
end
$$;
comment on function app.check_request() is
'PostgREST runs it before every request (db-pre-request). It waits while a deployment replaces schema api. It
refuses a token without a profile, a guest''s request about settings, and a write to a profile that is
being imported or erased.';
grant execute on function app.check_request() to anon, authenticated, auditor;

create or replace function app.refuse_explain() returns boolean
language plpgsql
immutable -- So that PostgreSQL evaluates it while it plans a statement, also an EXPLAIN.
security invoker
parallel safe
set search_path = ''
as $$
begin
  -- Only in a request: a DBA may explain a query as a client role.
  if pg_catalog.current_query() ~* '^\s*explain'
    and pg_catalog.current_setting('request.method', true) <> '' then
    perform app.raise_error(
      400, 'invalid_argument', 'Estimated counts are refused: they reveal other profiles'' rows',
      pg_catalog.jsonb_build_object('field', 'Prefer'), 'Use Prefer: count=exact'
    );
  end if;
  return true;
end
$$;
comment on function app.refuse_explain() is
'Condition of the restrictive policies no_estimates. PostgREST gets an estimated count by an EXPLAIN,
whose row estimates come from the rows of all profiles. In any other statement the planner replaces
the call by true. See docs/decisions/0007.';
grant execute on function app.refuse_explain() to authenticated, auditor;

create or replace function app.uuidv7() returns uuid
language plpgsql
volatile
security invoker
parallel safe
set search_path = ''
as $$
begin
  if pg_catalog.current_setting('server_version_num')::integer >= 180000 then
    return pg_catalog.uuidv7();
  end if;
  -- RFC 9562, section 5.7: 48 bits of Unix time in milliseconds, then 74 random bits around the
  -- version and the variant. Bits 52 and 53 turn version 4 into version 7.
  return pg_catalog.encode(
    pg_catalog.set_bit(
      pg_catalog.set_bit(
        pg_catalog.overlay(
          pg_catalog.uuid_send(pg_catalog.gen_random_uuid()),
          pg_catalog.substring(
            pg_catalog.int8send(
              pg_catalog.floor(
                extract(epoch from pg_catalog.clock_timestamp()) * 1000
              )::bigint
            ),
            3
          ),
          1, 6
        ),
        52, 1
      ),
      53, 1
    ),
    'hex'
  )::uuid;
end
$$;
comment on function app.uuidv7() is
'A UUID of version 7, whose order is the order of creation. PostgreSQL has the function from 18 on.';
grant execute on function app.uuidv7() to authenticated;

create or replace function app.next_timestamp(previous timestamptz) returns timestamptz
language sql
volatile
security invoker
set search_path = ''
as $$
  select greatest(
    pg_catalog.clock_timestamp(), next_timestamp.previous + interval '1 microsecond'
  )
$$;
comment on function app.next_timestamp(timestamptz) is
'The time now, or one microsecond after the previous time if the clock was set back.';
grant execute on function app.next_timestamp(timestamptz) to authenticated;

create or replace function app.lock_key(kind text, variadic parts text[]) returns bigint
language sql
immutable
security invoker
parallel safe
set search_path = ''
as $$
  select pg_catalog.hashtextextended(
    pg_catalog.to_jsonb(pg_catalog.array_prepend(lock_key.kind, lock_key.parts))::text, 0
  )
$$;
comment on function app.lock_key(text, text[]) is
'The key of an advisory lock on the object that the parts identify. They are hashed as a JSON array, so that
(''a/b'', ''c'') and (''a'', ''b/c'') have different keys.';
grant execute on function app.lock_key(text, text[]) to authenticated;

create or replace function app.lock_profile(
  profile_id text, exclusive boolean default false
) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  key constant bigint := app.lock_key('profile', lock_profile.profile_id);
  high constant integer := key >> 32;
  low constant integer := (key << 32) >> 32;
begin
  -- Locks with two keys are never those with one key. Clients choose texts in the keys of the latter,
  -- and the hash is not cryptographic: they could choose one with the hash of another profile.
  if lock_profile.exclusive then
    perform pg_catalog.pg_advisory_xact_lock(high, low);
    return true;
  end if;
  return pg_catalog.pg_try_advisory_xact_lock_shared(high, low);
end
$$;
comment on function app.lock_profile(text, boolean) is
'Lock a profile until the end of the transaction. An import or erasure holds the exclusive lock, for which it
waits. A write holds the shared one; it does not wait for it, and gets false if it is not available.';
grant execute on function app.lock_profile(text, boolean) to authenticated;

create or replace function app.refuse_row(violation app.violation, context jsonb default '{}')
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  field text := nullif(refuse_row.violation.column_name, '');
  violated record;
begin
  select
    pg_catalog.obj_description(con.oid, 'pg_constraint') as rule,
    attribute.attname as column_name
  into violated
  from pg_catalog.pg_constraint as con
  left join pg_catalog.pg_attribute as attribute
    on attribute.attrelid = con.conrelid
    and attribute.attnum = con.conkey[pg_catalog.cardinality(con.conkey)]
  where con.conrelid
    = pg_catalog.format('app.%I', refuse_row.violation.table_name)::regclass
    and con.conname = refuse_row.violation.constraint_name
    and con.contype = 'c';
  field := coalesce(field, violated.column_name);

  perform app.raise_error(
    case when refuse_row.violation.constraint_name like '%\_size' then 413 else 400 end,
    case
      when refuse_row.violation.constraint_name like '%\_size' then 'payload_too_large'
      else 'invalid_argument'
    end,
    coalesce(violated.rule, field || ' is required'),
    refuse_row.context || pg_catalog.jsonb_build_object('field', field)
  );
end
$$;
comment on function app.refuse_row(app.violation, jsonb) is
'Refuse a row with the comment on the constraint that it violates, or because a column is required.
A constraint whose name ends in _size gives 413 payload_too_large, any other 400 invalid_argument.';
grant execute on function app.refuse_row(app.violation, jsonb) to authenticated;

create or replace function app.assert_check(holds boolean, table_name text, constraint_name text)
returns boolean
language plpgsql
immutable -- The result depends on `holds` alone.
security invoker
set search_path = ''
as $$
begin
  if not assert_check.holds then
    perform app.refuse_row((assert_check.table_name, assert_check.constraint_name, null));
  end if;
  return true;
end
$$;
comment on function app.assert_check(boolean, text, text) is
'For the CHECKs of a table that clients update without a function: refuses a row with the comment on
the constraint, as the functions of the other tables do.';
grant execute on function app.assert_check(boolean, text, text) to authenticated;

create or replace function app.require_argument(name text, is_given boolean) returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if require_argument.is_given is not true then
    perform app.raise_error(
      400, 'invalid_argument', require_argument.name || ' is required',
      pg_catalog.jsonb_build_object('field', require_argument.name)
    );
  end if;
end
$$;
comment on function app.require_argument(text, boolean) is
'Refuse a call without a required argument. The parameters of the functions in schema api all have a
default, because PostgREST returns 404 (unknown function) for a missing one.';
grant execute on function app.require_argument(text, boolean) to authenticated, auditor;

create or replace function app.limit_depth(
  field text, document jsonb, levels integer default 500
) returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- The evaluation of `.**` stops at this level, so that no document overflows the stack.
  if pg_catalog.jsonb_path_exists(
    limit_depth.document,
    ('$.**{' || limit_depth.levels + 1 || '}')::jsonpath
  ) then
    perform app.raise_error(
      413, 'payload_too_large',
      pg_catalog.format(
        '%s may have %s levels of nested objects and arrays at most',
        limit_depth.field, limit_depth.levels
      ),
      pg_catalog.jsonb_build_object('field', limit_depth.field)
    );
  end if;
end
$$;
comment on function app.limit_depth(text, jsonb, integer) is
'Refuse a document with too many levels: programs that read it, such as the export, have a limit, and
app.json_merge_patch would exhaust max_stack_depth. At about 14,500 levels PostgreSQL itself refuses
JSON (54001), before a function is called.';
grant execute on function app.limit_depth(text, jsonb, integer) to authenticated;

create or replace function app.mark_unchanged() returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  select pg_catalog.set_config(
    'sessionbase.unchanged',
    coalesce(nullif(pg_catalog.current_setting('sessionbase.unchanged', true), ''), 'true'),
    true
  )
$$;
comment on function app.mark_unchanged() is
'Record for api.txid that a repeated call changed no row, unless the transaction has changed another.';
grant execute on function app.mark_unchanged() to authenticated;

create or replace function app.mark_changed() returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  select pg_catalog.set_config('sessionbase.unchanged', 'false', true)
$$;
comment on function app.mark_changed() is
'Record for api.txid that this transaction has changed a row. It overrides mark_unchanged.';
grant execute on function app.mark_changed() to authenticated;

create or replace function app.refuse_change() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  raise exception '% of %.% is refused: it is append-only', tg_op, tg_table_schema, tg_table_name
    using errcode = 'restrict_violation';
end
$$;
comment on function app.refuse_change() is
'Trigger of append-only tables: refuses UPDATE, DELETE and TRUNCATE by every role.';

create or replace function app.require_columns() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  row_as_json constant jsonb := pg_catalog.to_jsonb(new);
  column_name text;
begin
  foreach column_name in array tg_argv
  loop
    if row_as_json -> column_name = 'null' then
      perform app.refuse_row((tg_table_name, null, column_name));
    end if;
  end loop;
  return new;
end
$$;
comment on function app.require_columns() is
'Trigger of the tables that clients update directly: refuses a null in the columns that its arguments
name, with 400 invalid_argument instead of PostgreSQL''s error 23502.';

create or replace function app.refuse_bulk_change() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if current_user = 'authenticated' and (select count(*) from changed_rows) > 1 then
    perform app.raise_error(
      400, 'invalid_argument', 'The request would change several rows; nothing was changed', null,
      pg_catalog.format('Name one row: ?%s=eq.…', tg_argv[0])
    );
  end if;
  return null;
end
$$;
comment on function app.refuse_bulk_change() is
'Trigger of the tables that clients write directly: a missing filter must not change all rows of a
profile. PostgREST applies a PATCH or DELETE without a filter to every row.';
