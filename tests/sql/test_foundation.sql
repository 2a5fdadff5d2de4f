-- What holds for the whole database: who may do what, and how every object is made. By catalogue.
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
  function.proowner
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
  'no object lives in public'
);
select is_empty(
  $$ select schema, name from our_relations where schema = 'api' and relkind <> 'v' $$,
  'schema api holds no data: views and functions alone'
);
select is_empty(
  $$ select schema, name from our_relations
     where relowner <> 'sessionbase_owner'::regrole
     union all
     select 'function', name from our_functions where proowner <> 'sessionbase_owner'::regrole $$,
  'sessionbase_owner owns every table, view and function'
);
select set_eq(
  $$ select rolname::text, rolcanlogin, rolinherit, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb
     from pg_roles
     where rolname in (
       'sessionbase_owner', 'sessionbase_replicator', 'anon', 'authenticated', 'auditor', 'authenticator'
     ) $$,
  $$ values
    ('anon', false, false, false),
    ('auditor', false, false, false),
    ('authenticated', false, false, false),
    ('authenticator', true, false, false),
    ('sessionbase_owner', false, false, false),
    ('sessionbase_replicator', false, false, false) $$,
  'authenticator alone may log in; no role inherits, bypasses row-level security or makes roles'
);
select set_eq(
  $$ select roleid::regrole::text from pg_auth_members where member = 'authenticator'::regrole $$,
  array['anon', 'authenticated', 'auditor'],
  'authenticator may become a client role and nothing else'
);
select is_empty(
  $$ select member::regrole from pg_auth_members
     where member in (
       'anon'::regrole, 'authenticated'::regrole, 'auditor'::regrole, 'sessionbase_replicator'::regrole
     ) $$,
  'no client role is a member of another role'
);
select set_eq(
  $$ select nspname || ' ' || grantee::regrole::text || ' ' || privilege_type
     from pg_namespace, aclexplode(nspacl)
     where nspname in ('app', 'api', 'ops') and grantee <> nspowner
       -- Of a grant to the whole world regrole says '-'.
       and grantee not in (select oid from pg_roles where rolsuper) $$,
  array[
    'api anon USAGE', 'api auditor USAGE', 'api authenticated USAGE',
    'app anon USAGE', 'app auditor USAGE', 'app authenticated USAGE',
    'app sessionbase_replicator USAGE'
  ],
  'clients may enter app and api, the replicator app, nobody ops, and nobody may create in them'
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
     where schema = 'app' and attname <> 'profile_id' $$,
  'every index leads with profile_id'
);
select is_empty(
  $$ select conrelid::regclass, conname from pg_constraint
     where contype in ('c', 'f') and connamespace = 'app'::regnamespace
       and obj_description(oid, 'pg_constraint') is null
       and conrelid <> 'app.hookify_chains'::regclass $$,
  'every rule of a table that a caller can break is told in a comment'
);

-- ---- Policies

select is_empty(
  $$ select tablename, policyname, roles from pg_policies
     where schemaname in ('app', 'ops') and (cardinality(roles) <> 1 or 'public' = any (roles)) $$,
  'every policy is for one named role'
);
select is_empty(
  $$ select tablename, policyname, cmd from pg_policies
     where schemaname = 'app' and policyname not in (lower(cmd) || '_own', lower(cmd) || '_all') $$,
  'every policy is named for what it allows'
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
  'a policy …_own is a profile''s, for its own rows, evaluated once a statement'
);
select is_empty(
  $$ select tablename, policyname from pg_policies
     where schemaname = 'app' and policyname like '%\_all' and (
       cmd <> 'SELECT' or qual <> 'true' or roles not in ('{auditor}', '{sessionbase_replicator}')
     ) $$,
  'only an auditor and the replicator see the rows of all, and only to read them'
);
select set_eq(
  $$ select tablename || ' ' || lower(cmd) || ' ' || array_to_string(roles, ',')
     from pg_policies where schemaname = 'app' $$,
  array[
    'hookify_chains select auditor',
    'hookify_chains select authenticated',
    'hookify_decisions insert authenticated',
    'hookify_decisions select auditor',
    'hookify_decisions select authenticated',
    'misalignment_transitions select auditor',
    'misalignment_transitions select authenticated',
    'misalignments insert authenticated',
    'misalignments select authenticated',
    'misalignments select sessionbase_replicator',
    'misalignments update authenticated',
    'session_repo_bindings delete authenticated',
    'session_repo_bindings insert authenticated',
    'session_repo_bindings select authenticated',
    'session_repo_bindings select sessionbase_replicator',
    'session_repo_bindings update authenticated',
    'todos delete authenticated',
    'todos insert authenticated',
    'todos select authenticated',
    'todos select sessionbase_replicator',
    'todos update authenticated',
    'tool_event_transitions select auditor',
    'tool_event_transitions select authenticated',
    'tool_events insert authenticated',
    'tool_events select authenticated',
    'tool_events select sessionbase_replicator',
    'tool_events update authenticated',
    'ui_settings insert authenticated',
    'ui_settings select authenticated',
    'ui_settings select sessionbase_replicator',
    'ui_settings update authenticated'
  ],
  'these are the policies, and there is no other'
);

-- ---- Grants on tables and views, exactly

select set_eq(
  $$ select schema || '.' || name || ' ' || grantee::regrole::text || ' ' || lower(privilege_type)
     from our_relations, aclexplode(relacl) where grantee <> relowner $$,
  array[
    'api.hookify_decisions auditor select',
    'api.hookify_decisions authenticated select',
    'api.misalignment_transitions auditor select',
    'api.misalignment_transitions authenticated select',
    'api.misalignments authenticated select',
    'api.session_repo_bindings authenticated delete',
    'api.session_repo_bindings authenticated select',
    'api.todos authenticated select',
    'api.tool_event_transitions auditor select',
    'api.tool_event_transitions authenticated select',
    'api.tool_events authenticated select',
    'api.ui_settings authenticated select',
    'app.hookify_chains auditor select',
    'app.hookify_chains authenticated select',
    'app.hookify_decisions auditor select',
    'app.hookify_decisions authenticated select',
    'app.misalignment_transitions auditor select',
    'app.misalignment_transitions authenticated select',
    'app.misalignments authenticated select',
    'app.misalignments sessionbase_replicator select',
    'app.session_repo_bindings authenticated delete',
    'app.session_repo_bindings authenticated select',
    'app.session_repo_bindings sessionbase_replicator select',
    'app.todos authenticated delete',
    'app.todos authenticated select',
    'app.todos sessionbase_replicator select',
    'app.tool_event_transitions auditor select',
    'app.tool_event_transitions authenticated select',
    'app.tool_events authenticated select',
    'app.tool_events sessionbase_replicator select',
    'app.ui_settings authenticated select',
    'app.ui_settings sessionbase_replicator select'
  ],
  'on whole tables and views clients may read, and delete where that is plain CRUD: nothing else'
);
select set_eq(
  $$ select format(
       '%s.%s %s %s: %s', schema, name, grantee::regrole, lower(privilege_type),
       string_agg(attname, ' ' order by attnum)
     )
     from our_relations as relation
     join pg_attribute on attrelid = relation.oid
     cross join aclexplode(attacl)
     group by schema, name, grantee, privilege_type $$,
  array[
    'api.todos authenticated insert: id text completed',
    'api.todos authenticated update: text completed',
    'app.hookify_decisions authenticated insert: id session_id source content_hash severity blocked rules message annotations',
    'app.misalignments authenticated insert: session_id id rule_id title summary severity status event_range evidence',
    'app.misalignments authenticated update: rule_id title summary severity status event_range evidence',
    'app.session_repo_bindings authenticated insert: session_id asset_path root_dir',
    'app.session_repo_bindings authenticated update: asset_path root_dir',
    'app.todos authenticated insert: id text completed',
    'app.todos authenticated update: text completed',
    'app.tool_events authenticated insert: id session_id thread_id tool_call_id tool_name status arguments context_events',
    'app.tool_events authenticated update: status result error context_events',
    'app.ui_settings authenticated insert: settings',
    'app.ui_settings authenticated update: settings'
  ],
  'these columns a profile may write, and no other: neither its profile, nor times, nor revisions'
);

-- ---- Views

select set_eq(
  $$ select name::text from our_relations where schema = 'api' $$,
  array[
    'hookify_decisions', 'misalignment_transitions', 'misalignments', 'session_repo_bindings',
    'todos', 'tool_event_transitions', 'tool_events', 'ui_settings'
  ],
  'these views are exposed, and no other'
);
select is_empty(
  $$ select name from our_relations
     where schema = 'api' and not coalesce('security_invoker=true' = any (reloptions), false) $$,
  'every view runs with the rights of who asks'
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
  'every table, view, column and function says what it is for'
);

-- ---- Functions

select set_eq(
  $$ select name from our_functions where prosecdef $$,
  array[
    'app.chain_hookify_decision', 'app.log_misalignment_transition', 'app.log_tool_event_transition'
  ],
  'these functions run with their owner''s rights, and no other'
);
select is_empty(
  $$ select name from our_functions where prosecdef and oid not in (select tgfoid from pg_trigger) $$,
  'what runs with its owner''s rights is a trigger: nobody can call it'
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
select set_eq(
  $$ select name || ' ' || string_agg(grantee::regrole::text, ' ' order by grantee::regrole::text)
     from our_functions, aclexplode(proacl)
     where name like 'api.%' and grantee <> proowner
     group by oid, name $$,
  array[
    'api.delete_todo authenticated',
    'api.ingest_misalignments authenticated',
    'api.patch_ui_settings authenticated',
    'api.record_hookify_decision authenticated',
    'api.record_tool_event authenticated',
    'api.save_ui_settings authenticated',
    'api.session_context authenticated',
    'api.set_session_repo_binding authenticated',
    'api.toggle_todo authenticated',
    'api.transition_misalignment authenticated',
    'api.transition_tool_event authenticated',
    'api.transition_tool_event_by_call authenticated',
    'api.txid authenticated',
    'api.verify_hookify_decisions auditor authenticated'
  ],
  'these functions are exposed, to these roles, each in one form'
);
select is(
  (select count(*) from our_functions where name like 'api.%'), 14::bigint,
  'and schema api has no function that nobody may execute'
);
select set_eq(
  $$ select name || ' ' || string_agg(grantee::regrole::text, ' ' order by grantee::regrole::text)
     from our_functions, aclexplode(proacl)
     where name not like 'api.%' and grantee <> proowner
     group by oid, name $$,
  array[
    'app.check_request anon auditor authenticated',
    'app.hookify_decision_hash auditor authenticated',
    'app.is_legal_misalignment_transition authenticated',
    'app.is_legal_tool_event_transition authenticated',
    'app.json_merge_patch authenticated',
    'app.profile_id auditor authenticated',
    'app.raise_error anon auditor authenticated',
    'app.assert_check authenticated',
    'app.refuse_row authenticated',
    'app.refuse_stale_ui_settings authenticated'
  ],
  'of the functions behind them, clients may execute these, which run with the client''s rights'
);

set local role sessionbase_owner;
create function app.made_later() returns integer language sql immutable set search_path = '' as 'select 1';
select as_dba();
select ok(
  not has_function_privilege('authenticated', 'app.made_later()', 'execute')
  and not has_function_privilege('anon', 'app.made_later()', 'execute'),
  'a function that a later migration makes is closed until it is granted'
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
  'and so is one with an empty sub'
);
select is(
  refusal('select * from app.tool_events'), '401 no_profile The token names no profile',
  'a read without a profile is refused: it is no empty list'
);
select as_dba();
select is(
  refusal('select app.profile_id()'), '401 no_profile The token names no profile',
  'a DBA has no profile by default'
);
set local "sessionbase.actor" = 'import';
select is(app.actor(), 'import', 'a DBA may say as what it acts');
set local "request.jwt.claims" = '{"sub": "profile-of-the-token"}';
select is(app.actor(), 'profile-of-the-token', 'but where there is a token, it says who acts');
select as_dba();
set local "sessionbase.actor" = '';
select is(app.actor(), session_user::text, 'else it is the login');

select is(
  refusal($$ select app.raise_error(409, 'some_code', e'two\r\nlines "quoted"', '{"a": 1}', 'do so') $$),
  e'409 some_code two\r\nlines "quoted"',
  'an error takes any text'
);
select throws_ok(
  $$ select app.raise_error(401, 'some_code', 'text') $$,
  'PGRST',
  '{"code" : "some_code", "message" : "text", "details" : null, "hint" : null}',
  'an error has all four keys, even where two are null'
);

select finish();
rollback;
