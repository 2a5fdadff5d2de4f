-- A grant beyond the list of what each client role may do
-- The list below is the whole of it: who may read, write (column by column) and call what. A grant
-- that is not on it is an error, to public above all; one that is on it and missing is a warning,
-- since the app's calls that need it fail.
with allowed (roles, privileges, object, columns) as (
  values
    ('anon, authenticated, auditor, sessionbase_replicator', 'usage', 'schema app', null),
    ('anon, authenticated, auditor', 'usage', 'schema api', null),
    -- Every request: who is asking, and what a refusal says.
    ('anon, authenticated, auditor', 'execute', 'app.check_request()', null),
    ('anon, authenticated, auditor', 'execute',
      'app.raise_error(integer,text,text,jsonb,text)', null),
    ('authenticated, auditor', 'execute', 'app.profile_id()', null),
    ('authenticated', 'execute', 'app.refuse_row(text,text,text,jsonb)', null),
    ('authenticated', 'execute', 'app.assert_check(boolean,text,text)', null),
    ('authenticated', 'execute', 'api.txid(record)', null),
    -- Tool events.
    ('authenticated', 'select', 'app.tool_events', null),
    ('authenticated', 'insert', 'app.tool_events',
      'id, session_id, thread_id, tool_call_id, tool_name, status, arguments, context_events'),
    ('authenticated', 'update', 'app.tool_events', 'status, result, error, context_events'),
    ('authenticated', 'execute', 'app.is_legal_tool_event_transition(text,text)', null),
    ('authenticated, auditor', 'select', 'app.tool_event_transitions', null),
    ('authenticated', 'select', 'api.tool_events', null),
    ('authenticated, auditor', 'select', 'api.tool_event_transitions', null),
    ('authenticated', 'execute',
      'api.record_tool_event(text,text,jsonb,text,text,text,text,jsonb)', null),
    ('authenticated', 'execute',
      'api.transition_tool_event(text,text,jsonb,text,jsonb,text)', null),
    ('authenticated', 'execute',
      'api.transition_tool_event_by_call(text,text,text,jsonb,text,jsonb,text)', null),
    -- Hookify decisions.
    ('authenticated, auditor', 'select', 'app.hookify_chains', null),
    ('authenticated, auditor', 'select', 'app.hookify_decisions', null),
    ('authenticated', 'insert', 'app.hookify_decisions',
      'id, session_id, source, content_hash, severity, blocked, rules, message, annotations'),
    ('authenticated, auditor', 'execute',
      'app.hookify_decision_hash(app.hookify_decisions)', null),
    ('authenticated, auditor', 'select', 'api.hookify_decisions', null),
    ('authenticated', 'execute',
      'api.record_hookify_decision(text,text,text,boolean,jsonb,text,text,text,text,text)', null),
    ('authenticated, auditor', 'execute', 'api.verify_hookify_decisions(text)', null),
    -- Misalignments.
    ('authenticated', 'select', 'app.misalignments', null),
    ('authenticated', 'insert', 'app.misalignments',
      'session_id, id, rule_id, title, summary, severity, status, event_range, evidence'),
    ('authenticated', 'update', 'app.misalignments',
      'rule_id, title, summary, severity, status, event_range, evidence'),
    ('authenticated', 'execute', 'app.is_legal_misalignment_transition(text,text)', null),
    ('authenticated, auditor', 'select', 'app.misalignment_transitions', null),
    ('authenticated', 'select', 'api.misalignments', null),
    ('authenticated, auditor', 'select', 'api.misalignment_transitions', null),
    ('authenticated', 'execute', 'api.ingest_misalignments(text,jsonb)', null),
    ('authenticated', 'execute', 'api.transition_misalignment(text,text,text,text)', null),
    -- Todos.
    ('authenticated', 'select, delete', 'app.todos', null),
    ('authenticated', 'insert', 'app.todos', 'id, text, completed'),
    ('authenticated', 'update', 'app.todos', 'text, completed'),
    ('authenticated', 'select', 'api.todos', null),
    ('authenticated', 'insert', 'api.todos', 'id, text, completed'),
    ('authenticated', 'update', 'api.todos', 'text, completed'),
    ('authenticated', 'execute', 'api.toggle_todo(uuid)', null),
    ('authenticated', 'execute', 'api.delete_todo(uuid)', null),
    -- Repo bindings.
    ('authenticated', 'select, delete', 'app.session_repo_bindings', null),
    ('authenticated', 'insert', 'app.session_repo_bindings', 'session_id, asset_path, root_dir'),
    ('authenticated', 'update', 'app.session_repo_bindings', 'asset_path, root_dir'),
    ('authenticated', 'select, delete', 'api.session_repo_bindings', null),
    ('authenticated', 'execute', 'api.set_session_repo_binding(text,text,text)', null),
    -- UI settings.
    ('authenticated', 'select', 'app.ui_settings', null),
    ('authenticated', 'insert', 'app.ui_settings', 'settings'),
    ('authenticated', 'update', 'app.ui_settings', 'settings'),
    ('authenticated', 'execute', 'app.json_merge_patch(jsonb,jsonb)', null),
    ('authenticated', 'execute', 'app.refuse_stale_ui_settings(bigint)', null),
    ('authenticated', 'select', 'api.ui_settings', null),
    ('authenticated', 'execute', 'api.save_ui_settings(jsonb,bigint)', null),
    ('authenticated', 'execute', 'api.patch_ui_settings(jsonb,bigint)', null),
    -- A session at once.
    ('authenticated', 'execute', 'api.session_context(text)', null),
    -- Replication: the published tables, and nothing else.
    ('sessionbase_replicator', 'select', 'app.tool_events', null),
    ('sessionbase_replicator', 'select', 'app.misalignments', null),
    ('sessionbase_replicator', 'select', 'app.todos', null),
    ('sessionbase_replicator', 'select', 'app.session_repo_bindings', null),
    ('sessionbase_replicator', 'select', 'app.ui_settings', null)
),

expected as (
  select
    role.name as grantee,
    privilege.name as privilege,
    allowed.object,
    coalesce(one_column.name, '') as column_name
  from allowed
  -- Not string_to_table: the planner would expect a thousand rows of each, and plan for billions.
  cross join pg_catalog.unnest(pg_catalog.string_to_array(allowed.roles, ', ')) as role (name)
  cross join pg_catalog.unnest(pg_catalog.string_to_array(allowed.privileges, ', '))
    as privilege (name)
  left join pg_catalog.unnest(pg_catalog.string_to_array(allowed.columns, ', '))
    as one_column (name)
    on true
),

-- Without a stored list of its own, an object has PostgreSQL's default one.
acl (object, column_name, entries) as (
  select
    'schema ' || namespace.nspname,
    '',
    coalesce(namespace.nspacl, pg_catalog.acldefault('n', namespace.nspowner))
  from pg_catalog.pg_namespace as namespace
  where namespace.nspname in ('app', 'api', 'ops')
  union all
  select
    class.oid::regclass::text,
    '',
    coalesce(
      class.relacl,
      pg_catalog.acldefault(
        case when class.relkind = 'S' then 's' else 'r' end::"char", class.relowner
      )
    )
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select class.oid::regclass::text, attribute.attname, attribute.attacl
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and attribute.attacl is not null
    and not attribute.attisdropped
  union all
  select
    routine.oid::regprocedure::text,
    '',
    coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner))
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
),

actual as (
  select
    case when entry.grantee = 0 then 'public' else entry.grantee::regrole::text end as grantee,
    pg_catalog.lower(entry.privilege_type) as privilege,
    acl.object,
    acl.column_name,
    pg_catalog.bool_or(entry.is_grantable) as grantable
  from acl
  cross join lateral pg_catalog.aclexplode(acl.entries) as entry
  where entry.grantee = 0
    or entry.grantee::regrole::text in (
      'anon', 'authenticated', 'auditor', 'authenticator', 'sessionbase_replicator'
    )
  group by entry.grantee, entry.privilege_type, acl.object, acl.column_name
),

compared as (
  select
    coalesce(actual.grantee, expected.grantee) as grantee,
    coalesce(actual.privilege, expected.privilege) as privilege,
    coalesce(actual.object, expected.object) as object,
    coalesce(actual.column_name, expected.column_name) as column_name,
    expected.grantee is not null as is_allowed,
    actual.grantee is not null as is_granted,
    coalesce(actual.grantable, false) as grantable
  from actual
  full join expected
    on actual.grantee = expected.grantee
    and actual.privilege = expected.privilege
    and actual.object = expected.object
    and actual.column_name = expected.column_name
),

named as (
  select
    compared.grantee,
    compared.is_allowed,
    compared.is_granted,
    compared.grantable,
    case compared.privilege
      when 'execute' then 'function ' || compared.object else compared.object
    end as object,
    compared.privilege || case
      when compared.column_name <> '' then pg_catalog.format(' (%I)', compared.column_name)
      else ''
    end as privilege
  from compared
)

select
  case when named.is_granted then 'error' else 'warning' end as level,
  named.object,
  case
    when not named.is_granted then pg_catalog.format(
      '%s lacks %s: calls of the app that need it fail', named.grantee, named.privilege
    )
    when named.is_allowed then pg_catalog.format(
      '%s may pass %s on to others', named.grantee, named.privilege
    )
    else pg_catalog.format(
      '%s has %s, which is not on the list of its rights', named.grantee, named.privilege
    )
  end as what,
  case
    when not named.is_granted then pg_catalog.format(
      'grant %s on %s to %s', named.privilege, named.object, named.grantee
    )
    when named.is_allowed then pg_catalog.format(
      'revoke grant option for %s on %s from %s', named.privilege, named.object, named.grantee
    )
    else pg_catalog.format(
      'revoke %s on %s from %s', named.privilege, named.object, named.grantee
    )
  end as remediation
from named
where named.grantable or named.is_allowed <> named.is_granted
order by level, object, what
