-- The whole database: who can do what, and how every object is created. The tests read the catalogue
-- and compare the rights with sql/authority.json (tests/support/authority.sql).
begin;
set local search_path = tap, pg_catalog;
select no_plan();

create temporary view our_functions as
select
  function.oid,
  format('%s.%s', namespace.nspname, function.proname) as name,
  function.prosecdef,
  function.proconfig,
  function.proacl,
  function.proowner,
  function.prorettype
from pg_proc as function
inner join pg_namespace as namespace on namespace.oid = function.pronamespace
where namespace.nspname in ('app', 'api', 'ops');

create temporary view our_relations as
select
  relation.oid,
  namespace.nspname as schema,
  relation.relname as name,
  relation.relkind,
  relation.relrowsecurity,
  relation.reloptions,
  relation.relacl,
  relation.relowner
from pg_class as relation
inner join pg_namespace as namespace on namespace.oid = relation.relnamespace
where namespace.nspname in ('app', 'api', 'ops') and relation.relkind in ('r', 'p', 'v', 'm', 'S', 'f');

-- ---- Schemas and owners

select is_empty(
  $$ select relname from pg_class where relnamespace = 'public'::regnamespace
     union all select proname from pg_proc where pronamespace = 'public'::regnamespace
     union all select typname from pg_type where typnamespace = 'public'::regnamespace $$,
  'there is no object in schema public'
);
select is_empty(
  $$ select schema, name from our_relations where schema = 'api' and relkind <> 'v' $$,
  'schema api has only views and functions, no tables'
);
select is_empty(
  $$ select schema, name from our_relations
     where relowner <> 'sessionbase_owner'::regrole
     union all
     select 'function', name from our_functions where proowner <> 'sessionbase_owner'::regrole $$,
  'sessionbase_owner owns every table, view and function'
);
create temporary view our_roles as
select
  role.oid,
  role.rolname,
  role.rolinherit,
  role.rolsuper,
  role.rolbypassrls,
  role.rolcreaterole,
  role.rolcreatedb,
  role.rolcanlogin,
  listed.may_log_in,
  listed.member_of
from authority
cross join jsonb_to_recordset(authority.list -> 'roles') as listed (
  name text, may_log_in boolean, member_of jsonb
)
left join pg_roles as role on role.rolname = listed.name;

select is_empty(
  $$ select * from our_roles where rolname is null $$,
  'every role of sql/authority.json exists: create it in sql/roles.sql'
);
select is_empty(
  $$ select rolname from our_roles
     where rolinherit or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb
       or (rolcanlogin and not may_log_in) $$,
  'no role inherits, bypasses row-level security, creates roles, or may log in against '
  'sql/authority.json ("roles")'
);
select ok(
  (select rolcanlogin from our_roles where rolname = 'authenticator'), 'authenticator may log in'
);
select set_eq(
  $$ select member::regrole::text || ' ' || roleid::regrole::text from pg_auth_members
     where member in (select oid from our_roles) $$,
  $$ select rolname || ' ' || parent
     from our_roles, jsonb_array_elements_text(member_of) as parent $$,
  'our roles are members of the roles in sql/authority.json ("member_of") and of no other'
);
select is_empty(
  $$ select nspname, grantee::regrole, privilege_type
     from pg_namespace, aclexplode(nspacl)
     where nspname in ('app', 'api', 'ops') and grantee <> nspowner
       -- regrole prints '-' for a grant to public.
       and grantee not in (select oid from pg_roles where rolsuper)
       and (grantee::regrole::text, lower(privilege_type), 'schema ' || nspname)
         not in (select grantee, privilege, object from authority_grants) $$,
  'roles may use the schemas that sql/authority.json lists ("schemas"), and create in none'
);

-- ---- Tables

select is_empty(
  $$ select name from our_relations where schema = 'app' and relkind in ('r', 'p') and not relrowsecurity $$,
  'every table in app has row-level security'
);
select is_empty(
  $$ select name from our_relations as relation
     where schema = 'app' and relkind in ('r', 'p') and not exists (
       select from pg_constraint where conrelid = relation.oid and contype = 'p'
     ) $$,
  'every table in app has a primary key'
);
select is_empty(
  $$ select indexrelid::regclass
     from pg_index
     join our_relations as relation on relation.oid = indrelid
     join pg_attribute on attrelid = indrelid and attnum = indkey[0]
     where schema = 'app' and attname <> 'profile_id' and not (
       indexrelid::regclass::text like '%\_of\_all'
       and 'app.' || name in (select object from authority_grants where grantee = 'auditor')
     ) $$,
  'every index starts with profile_id, except for …_of_all of a table that the auditor reads'
);
select is_empty(
  $$ select key.indrelid::regclass, other.indexrelid::regclass
     from pg_index as key
     join pg_index as other on other.indrelid = key.indrelid and other.indexrelid > key.indexrelid
     join our_relations as relation on relation.oid = key.indrelid
     where key.indisprimary and relation.schema = 'app' $$,
  'the primary key is the newest index of its table: create it after the others, by alter table … add '
  'primary key (docs/conventions.md)'
);
select is_empty(
  $$ select conrelid::regclass, conname from pg_constraint
     where contype in ('c', 'f') and connamespace = 'app'::regnamespace
       and obj_description(oid, 'pg_constraint') is null
       and conrelid <> 'app.hookify_chains'::regclass $$,
  'every constraint that a caller can violate has a comment, which is the error message'
);

-- ---- Policies

select is_empty(
  $$ select tablename, policyname, roles from pg_policies
     where schemaname in ('app', 'ops')
       and ('public' = any (roles) or (permissive = 'PERMISSIVE' and cardinality(roles) <> 1)) $$,
  'every policy is for named roles, and a permissive one for one role'
);
select is_empty(
  $$ select tablename, policyname, cmd from pg_policies
     where schemaname = 'app' and permissive = 'PERMISSIVE'
       and policyname not in (lower(cmd) || '_own', lower(cmd) || '_all') $$,
  'every permissive policy has the name of its command, and _own or _all'
);
select is_empty(
  $$ select tablename, policyname, qual, with_check from pg_policies
     where schemaname = 'app' and policyname like '%\_own' and (
       roles <> '{authenticated}'
       or coalesce(qual, with_check)
         <> '(profile_id = ( SELECT app.profile_id() AS profile_id))'
       or (qual is null) <> (cmd = 'INSERT')
       or (with_check is null) <> (cmd in ('SELECT', 'DELETE'))
       or with_check <> coalesce(qual, with_check)
     ) $$,
  'a policy …_own is for authenticated and its own rows, evaluated once per statement'
);
select is_empty(
  $$ select tablename, policyname from pg_policies
     where schemaname = 'app' and policyname like '%\_all' and (
       cmd <> 'SELECT' or qual <> 'true' or roles not in ('{auditor}', '{sessionbase_replicator}')
     ) $$,
  'only the auditor and the replicator have policies for all rows, and only to read them'
);
create temporary view our_policies as
select
  schemaname || '.' || tablename as table_name,
  policyname::text as policy_name,
  lower(cmd) as command,
  array_to_string(roles, ', ') as role,
  permissive = 'RESTRICTIVE' as restrictive
from pg_policies
where schemaname in ('app', 'ops');

select is_empty(
  $$ select * from our_policies
     except
     select table_name, policy_name, command, role, restrictive from authority_policies $$,
  'each policy is for a right in sql/authority.json: drop it, or add the right to its table ("rights" '
  'or "writable"); a restrictive policy is in "restrictive_policies"'
);
select is_empty(
  $$ select table_name, policy_name, command, role, restrictive from authority_policies
     where not optional
     except select * from our_policies $$,
  'each right in sql/authority.json on a table has a policy, and each table the restrictive ones: '
  'create them in the migration'
);

select is_empty(
  $$ select function.proname
     from pg_proc as function
     where function.pronamespace = 'app'::regnamespace
       -- uuidv7 returns the same as the original, which only PostgreSQL 18 and later have.
       and function.proname not in ('json_typeof', 'jsonb_typeof', 'uuidv7')
       and exists (
         select from pg_proc as original
         where original.pronamespace = 'pg_catalog'::regnamespace
           and original.proname = function.proname
       )
     union all
     select type.typname
     from pg_type as type
     where type.typnamespace = 'app'::regnamespace
       and exists (
         select from pg_type as original
         where original.typnamespace = 'pg_catalog'::regnamespace and original.typname = type.typname
       )
     union all
     select operator.oprname from pg_operator as operator
     where operator.oprnamespace = 'app'::regnamespace $$,
  'no name in app but json_typeof and jsonb_typeof hides one of pg_catalog, which PostgREST finds after app: rename it '
  '(docs/decisions/0011)'
);

-- ---- Rights on tables, views and functions

create temporary view our_grants as
select
  entry.grantee::regrole::text as grantee,
  lower(entry.privilege_type) as privilege,
  format('%s.%s', relation.schema, relation.name) as object,
  '' as column_name
from our_relations as relation
cross join aclexplode(relation.relacl) as entry
where entry.grantee <> relation.relowner
union all
select
  entry.grantee::regrole::text,
  lower(entry.privilege_type),
  format('%s.%s', relation.schema, relation.name),
  attribute.attname::text
from our_relations as relation
inner join pg_attribute as attribute on attribute.attrelid = relation.oid
cross join aclexplode(attribute.attacl) as entry
union all
select
  entry.grantee::regrole::text,
  lower(entry.privilege_type),
  function.oid::regprocedure::text,
  ''
from our_functions as function
cross join aclexplode(function.proacl) as entry
where entry.grantee <> function.proowner;

select is_empty(
  $$ select * from our_grants
     except select grantee, privilege, object, column_name from authority_grants $$,
  'no role has a right that sql/authority.json does not list: revoke it, or add it there ("rights", '
  '"writable", "verbs", "execute" or "app_functions" of the domain)'
);
select is_empty(
  $$ select grantee, privilege, object, column_name from authority_grants
     where not optional and object not like 'schema %'
     except select * from our_grants $$,
  'every right that sql/authority.json lists is granted: grant it in sql/, or remove it there'
);

-- ---- Views

select set_eq(
  $$ select name::text from our_relations where schema = 'api' $$,
  $$ select view ->> 'view_name' from authority, jsonb_array_elements(list -> 'views') as view $$,
  'the views of schema api are those of sql/authority.json ("views" of their domain)'
);
select is_empty(
  $$ select name from our_relations
     where schema = 'api' and not coalesce('security_invoker=true' = any (reloptions), false) $$,
  'every view is security_invoker'
);
select is_empty(
  $$ select schema, name from our_relations as relation
     where schema in ('app', 'api') and obj_description(oid, 'pg_class') is null
     union all
     select schema || '.' || name, attname
     from our_relations as relation
     join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
     where schema in ('app', 'api') and col_description(relation.oid, attnum) is null
     union all
     select 'function', name from our_functions where obj_description(oid, 'pg_proc') is null $$,
  'every table, view, column and function has a comment'
);

-- ---- Functions

select set_eq(
  $$ select oid::regprocedure::text from our_functions where prosecdef $$,
  $$ select function ->> 'name'
     from authority, jsonb_array_elements(list -> 'security_definer') as function $$,
  'the SECURITY DEFINER functions are those of sql/authority.json ("security_definer")'
);
select is_empty(
  $$ select name from our_functions where prosecdef and oid not in (select tgfoid from pg_trigger) $$,
  'each SECURITY DEFINER function is a trigger function, which no client can call'
);
select is_empty(
  $$ select name from our_functions
     where not coalesce('search_path=""' = any (proconfig), false) $$,
  'every function has an empty search_path'
);
select is_empty(
  $$ select name from our_functions, aclexplode(coalesce(proacl, acldefault('f', proowner)))
     where grantee = 0 $$,
  'no function may be executed by everyone'
);
select is_empty(
  $$ select name from our_functions where name like 'api.%' group by name having count(*) > 1 $$,
  'each function of schema api has one form: PostgREST chooses by the names of the arguments'
);
select is_empty(
  $$ select oid::regprocedure from our_functions
     where name like 'api.%' and prorettype <> 'trigger'::regtype
       and oid::regprocedure::text not in (
         select object from authority_grants where privilege = 'execute'
       ) $$,
  'each function of schema api but those of triggers is in sql/authority.json ("functions" of its domain)'
);

select is_empty(
  $$ select oid::regprocedure from pg_proc
     where pronamespace = 'api'::regnamespace and pronargs <> pronargdefaults
       -- A computed column, which takes a row.
       and not 'record'::regtype = any (proargtypes::oid[]) $$,
  'every parameter of a function in api has a default, and a required one is checked with '
  'app.require_argument or by a constraint (docs/conventions.md)'
);

set local role sessionbase_owner;
create function app.made_later() returns integer language sql immutable set search_path = '' as 'select 1';
select as_dba();
select ok(
  not has_function_privilege('authenticated', 'app.made_later()', 'execute')
  and not has_function_privilege('anon', 'app.made_later()', 'execute'),
  'no client may execute a new function until it is granted'
);

-- ---- Identity and errors, by behaviour

select authenticate_as('profile-of-the-token');
select is(app.profile_id(), 'profile-of-the-token', 'the profile is the claim sub');
select authenticate_as(null);
select is(
  refusal('select app.profile_id()'), '401 no_profile The token names no profile',
  'a token without sub is refused'
);
select authenticate_as('');
select is(
  refusal('select app.profile_id()'), '401 no_profile The token names no profile',
  'a token with an empty sub is refused'
);
select is(
  refusal('select * from app.tool_events'), '401 no_profile The token names no profile',
  'a read without a profile is refused, not answered with an empty list'
);
select as_dba();
select is(
  refusal('select app.profile_id()'), '401 no_profile The token names no profile',
  'a DBA has no profile by default'
);
create function pg_temp.refusal_of_sub(sub text) returns text language plpgsql as $$
begin
  perform set_config('request.jwt.claims', format('{"sub": %s, "role": "authenticated"}', sub), true);
  return refusal('select app.profile_id()');
end
$$;
select is(
  pg_temp.refusal_of_sub(sub), '401 no_profile The token names no profile',
  'a sub that is not a JSON string is refused: ' || sub
)
from unnest(array['null', '7', '1.5', 'true', '["alice"]', '{"id": "alice"}']) as sub;
select is(
  pg_temp.refusal_of_sub(to_json(sub)::text),
  '401 no_profile The profile id in the token has more than 200 bytes',
  'a sub of more than 200 bytes is refused'
)
from unnest(array[repeat('x', 201), repeat('ü', 101)]) as sub;
select is(
  pg_temp.refusal_of_sub(to_json(repeat('ü', 100))::text), 'not refused',
  'a sub of 200 bytes is accepted'
);
select as_dba();
set local "sessionbase.actor" = 'import';
select is(app.actor(), 'import', 'a DBA can set the name that the logs record');
set local "request.jwt.claims" = '{"sub": "profile-of-the-token"}';
select is(app.actor(), 'profile-of-the-token', 'with a token, the profile of the token is recorded');
select as_dba();
set local "sessionbase.actor" = '';
select is(app.actor(), session_user::text, 'without both, the login is recorded');

select is(
  refusal($$ select app.raise_error(409, 'some_code', e'two\r\nlines "quoted"', '{"a": 1}', 'do so') $$),
  e'409 some_code two\r\nlines "quoted"',
  'the message of an error can be any text'
);
select throws_ok(
  $$ select app.raise_error(401, 'some_code', 'text') $$,
  'PGRST',
  '{"code" : "some_code", "message" : "text", "details" : null, "hint" : null}',
  'an error has all four keys, also where two are null'
);

select finish();
rollback;
