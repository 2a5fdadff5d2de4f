-- An object of schema api without a comment
-- PostgREST generates its OpenAPI description from the comments in schema api. Without a comment it
-- shows the name alone.
select
  'warning' as level,
  shown.object,
  'has no comment: OpenAPI shows only its name' as what,
  pg_catalog.format('comment on %s is ''…'', in its file under sql/api', shown.object)
    as remediation
from (
  select
    pg_catalog.format('schema %I', namespace.nspname) as object,
    pg_catalog.obj_description(namespace.oid, 'pg_namespace') as comment
  from pg_catalog.pg_namespace as namespace
  where namespace.nspname = 'api'
  union all
  select
    pg_catalog.format('view %s', class.oid::regclass),
    pg_catalog.obj_description(class.oid, 'pg_class')
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text = 'api' and class.relkind in ('r', 'p', 'v', 'm', 'f')
  union all
  select
    pg_catalog.format('column %s.%I', class.oid::regclass, attribute.attname),
    pg_catalog.col_description(class.oid, attribute.attnum)
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
  where class.relnamespace::regnamespace::text = 'api'
    and class.relkind in ('r', 'p', 'v', 'm', 'f')
    and attribute.attnum > 0
    and not attribute.attisdropped
  union all
  select
    pg_catalog.format('function %s', routine.oid::regprocedure),
    pg_catalog.obj_description(routine.oid, 'pg_proc')
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text = 'api'
) as shown
where coalesce(shown.comment, '') = ''
order by shown.object
