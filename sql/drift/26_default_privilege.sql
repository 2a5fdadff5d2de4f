-- Default privileges: of our roles, and of any role in our schemas
with
kind (letter, name, acl_letter) as (
  values
    ('r', 'tables', 'r'), ('S', 'sequences', 's'), ('f', 'functions', 'f'), ('T', 'types', 'T'),
    ('n', 'schemas', 'n')
),

acl (owner, namespace, kind, entries) as (
  -- Without a stored list for all schemas, PostgreSQL's default applies.
  select
    role.oid,
    0::oid,
    kind.name,
    coalesce(
      (
        select defaults.defaclacl
        from pg_catalog.pg_default_acl as defaults
        where defaults.defaclrole = role.oid
          and defaults.defaclnamespace = 0
          and defaults.defaclobjtype = kind.letter::"char"
      ),
      pg_catalog.acldefault(kind.acl_letter::"char", role.oid)
    )
  from pg_catalog.pg_roles as role
  cross join kind
  where role.rolname = any(
    pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
  )
  union all
  select defaults.defaclrole, defaults.defaclnamespace, kind.name, defaults.defaclacl
  from pg_catalog.pg_default_acl as defaults
  inner join kind on kind.letter::"char" = defaults.defaclobjtype
  where defaults.defaclnamespace <> 0
    and (
      defaults.defaclnamespace::regnamespace::text in ('app', 'api', 'ops')
      or pg_catalog.pg_get_userbyid(defaults.defaclrole) = any(
        pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
      )
    )
)

select
  pg_catalog.format(
    'default privilege %s on new %s%s of %s to %s', pg_catalog.lower(entry.privilege_type),
    acl.kind, coalesce(' in schema ' || shown.namespace, ''),
    shown.owner, shown.grantee
  ) as object,
  pg_catalog.format('role %s', shown.owner) as parent,
  pg_catalog.jsonb_build_object('grant option', entry.is_grantable) as attributes,
  pg_catalog.jsonb_build_object(
    'privilege', pg_catalog.lower(entry.privilege_type),
    'add grant option', pg_catalog.format(
      '%s grant %s on %s to %s with grant option', shown.statement,
      pg_catalog.lower(entry.privilege_type), acl.kind, shown.grantee_name
    ),
    'revoke grant option', pg_catalog.format(
      '%s revoke grant option for %s on %s from %s', shown.statement,
      pg_catalog.lower(entry.privilege_type), acl.kind, shown.grantee_name
    )
  ) as parts,
  array[
    pg_catalog.format(
      '%s grant %s on %s to %s%s', shown.statement, pg_catalog.lower(entry.privilege_type),
      acl.kind, shown.grantee_name,
      case when entry.is_grantable and entry.grantee <> acl.owner then ' with grant option' end
    )
  ] as creation,
  array[
    pg_catalog.format(
      '%s revoke %s on %s from %s', shown.statement, pg_catalog.lower(entry.privilege_type),
      acl.kind, shown.grantee_name
    )
  ] as removal,
  acl.owner as place
from acl
cross join lateral pg_catalog.aclexplode(acl.entries) as entry
cross join lateral (
  select
    pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(acl.owner)) as owner,
    nullif(acl.namespace, 0)::regnamespace::text as namespace,
    case
      when entry.grantee = 0 then 'public'
      when entry.grantee = acl.owner then 'itself'
      else pg_catalog.pg_get_userbyid(entry.grantee)
    end as grantee,
    case
      when entry.grantee = 0 then 'public'
      else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee))
    end as grantee_name,
    pg_catalog.format(
      'alter default privileges for role %I%s', pg_catalog.pg_get_userbyid(acl.owner),
      ' in schema ' || nullif(acl.namespace, 0)::regnamespace
    ) as statement
) as shown
