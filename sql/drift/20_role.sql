-- Attributes of our roles, without passwords
select
  pg_catalog.format('role %I', role.rolname) as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    'superuser', role.rolsuper,
    'inherit', role.rolinherit,
    'createrole', role.rolcreaterole,
    'createdb', role.rolcreatedb,
    'login', role.rolcanlogin,
    'replication', role.rolreplication,
    'bypassrls', role.rolbypassrls,
    'connection limit', role.rolconnlimit,
    'valid until', nullif(role.rolvaliduntil::text, 'infinity')
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'role', pg_catalog.quote_ident(role.rolname),
    'name', role.rolname
  ) as parts,
  array[
    pg_catalog.format(
      'create role %I %s', role.rolname,
      (
        select pg_catalog.string_agg(
          case when attribute.is_set then attribute.name else 'no' || attribute.name end, ' '
        )
        from (
          values
            ('superuser', role.rolsuper),
            ('inherit', role.rolinherit),
            ('createrole', role.rolcreaterole),
            ('createdb', role.rolcreatedb),
            ('login', role.rolcanlogin),
            ('replication', role.rolreplication),
            ('bypassrls', role.rolbypassrls)
        ) as attribute (name, is_set)
      )
    )
  ] as creation,
  null::text[] as removal,
  role.oid as place
from pg_catalog.pg_roles as role
where role.rolname = any(
  pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
)
