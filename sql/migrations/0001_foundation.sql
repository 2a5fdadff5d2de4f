-- Identity, errors and what every table shares.

-- Without this every new function could be executed by everyone. It has to be global: the form
-- with "in schema" can only add to what the global one grants.
alter default privileges revoke execute on functions from public;

create schema app;
comment on schema app is
'The data of sessionbase: tables, constraints, policies, triggers. Not exposed over HTTP.';
grant usage on schema app to anon, authenticated, auditor, sessionbase_replicator;

create function app.raise_error(
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
The text of a caller only ever gets into the JSON body: PostgREST 12 would copy the message of a
PTxyz error into the status line unescaped.';

create function app.profile_id() returns text
language plpgsql
stable
security invoker
parallel safe
set search_path = ''
as $$
declare
  subject text := nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub';
begin
  if subject is null or subject = '' then
    perform app.raise_error(
      401, 'no_profile', 'The token names no profile', null,
      'Send a JWT whose claim "sub" is the profile id'
    );
  end if;
  return subject;
end
$$;
comment on function app.profile_id() is
'The profile that the request acts for: the claim "sub" of its token. 401 no_profile without one.
Policies use it as (select app.profile_id()), so that it is evaluated once a statement.';
grant execute on function app.profile_id() to authenticated, auditor;

create function app.actor() returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub',
    nullif(pg_catalog.current_setting('sessionbase.actor', true), ''),
    session_user::text
  )
$$;
comment on function app.actor() is
'Who makes a change, for the logs: the profile of the token; for a DBA the setting
sessionbase.actor (the importer says ''import'') or else the login. A token always wins.';

create function app.check_request() returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if current_user <> 'anon' then
    perform app.profile_id();
  elsif pg_catalog.current_setting('request.path', true) in (
    '/ui_settings', '/rpc/save_ui_settings', '/rpc/patch_ui_settings'
  ) then
    perform app.raise_error(
      403, 'guest_not_stored', 'Nothing was saved: the server keeps no settings for a guest', null,
      'Guest settings stay on the device; send a token to keep them here'
    );
  end if;

  if pg_catalog.current_setting('request.headers', true)::json ->> 'prefer'
    ~ 'count=(planned|estimated)' then
    perform app.raise_error(
      400, 'invalid_argument', 'Estimated counts are refused: they tell of other profiles'' rows',
      pg_catalog.jsonb_build_object('field', 'Prefer'), 'Use Prefer: count=exact'
    );
  end if;
end
$$;
comment on function app.check_request() is
'PostgREST runs it before every request (db-pre-request): a token without a profile is refused, a
guest who wants settings is told that nothing is kept for guests, and the planner''s estimates, which
know no row-level security, are not given away.';
grant execute on function app.check_request() to anon, authenticated, auditor;
-- It runs as the client's role, and so does what it calls.
grant execute on function
app.raise_error(integer, text, text, jsonb, text) to anon, authenticated, auditor;

create function app.refuse_row(
  table_name text, constraint_name text, column_name text, context jsonb default '{}'
) returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  field text := nullif(refuse_row.column_name, '');
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
  where con.conrelid = pg_catalog.format('app.%I', refuse_row.table_name)::regclass
    and con.conname = refuse_row.constraint_name
    and con.contype = 'c';
  field := coalesce(field, violated.column_name);

  perform app.raise_error(
    case when refuse_row.constraint_name like '%\_size' then 413 else 400 end,
    case
      when refuse_row.constraint_name like '%\_size' then 'payload_too_large'
      else 'invalid_argument'
    end,
    coalesce(violated.rule, field || ' is required'),
    refuse_row.context || pg_catalog.jsonb_build_object('field', field)
  );
end
$$;
comment on function app.refuse_row(text, text, text, jsonb) is
'Tell a caller which constraint its row breaks, in the words of the comment on that constraint.
A constraint whose name ends in _size gives 413 payload_too_large, any other 400 invalid_argument.';
grant execute on function app.refuse_row(text, text, text, jsonb) to authenticated;

create function app.assert_check(holds boolean, table_name text, constraint_name text) returns boolean
language plpgsql
immutable -- What it returns depends on `holds` alone.
security invoker
set search_path = ''
as $$
begin
  if not assert_check.holds then
    perform app.refuse_row(assert_check.table_name, assert_check.constraint_name, '');
  end if;
  return true;
end
$$;
comment on function app.assert_check(boolean, text, text) is
'For the CHECKs of a table that clients write without a function: refuses a row in the words of the
constraint, as the functions of the other tables do.';
grant execute on function app.assert_check(boolean, text, text) to authenticated;

create function app.refuse_change() returns trigger
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
'Trigger of append-only tables: refuses UPDATE, DELETE and TRUNCATE, whoever tries.';

create function app.refuse_bulk_change() returns trigger
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
'Trigger of the tables that clients write directly: a forgotten filter must not cost a profile all
its rows. PostgREST takes PATCH and DELETE without one as meant for every row.';
