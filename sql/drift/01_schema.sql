-- The schemas app, api and ops
select
  pg_catalog.format('schema %I', namespace.nspname) as object,
  null as parent,
  pg_catalog.jsonb_build_object('owner', namespace.nspowner::regrole::text) as attributes,
  pg_catalog.jsonb_build_object(
    'target', pg_catalog.format('schema %I', namespace.nspname)
  ) as parts,
  array[
    pg_catalog.format(
      'create schema %I authorization %s', namespace.nspname, namespace.nspowner::regrole
    )
  ] as creation,
  null::text[] as removal,
  namespace.oid as place
from pg_catalog.pg_namespace as namespace
where namespace.nspname in ('app', 'api', 'ops')
