-- Extensions of the database
select
  pg_catalog.format('extension %I', extension.extname) as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    'version', extension.extversion,
    'schema', extension.extnamespace::regnamespace::text
  ) as attributes,
  '{}'::jsonb as parts,
  array[
    pg_catalog.format(
      'create extension %I schema %s', extension.extname, extension.extnamespace::regnamespace
    )
  ] as creation,
  null::text[] as removal,
  extension.oid as place
from pg_catalog.pg_extension as extension
