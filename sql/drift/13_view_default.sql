-- Defaults of the columns of views
select
  pg_catalog.format('default of column %s.%I', class.oid::regclass, attribute.attname) as object,
  'view ' || class.oid::regclass as parent,
  pg_catalog.jsonb_build_object('value', shown.value) as attributes,
  '{}'::jsonb as parts,
  array[
    pg_catalog.format(
      'alter view %s alter column %I set default %s',
      class.oid::regclass, attribute.attname, shown.value
    )
  ] as creation,
  array[
    pg_catalog.format(
      'alter view %s alter column %I drop default', class.oid::regclass, attribute.attname
    )
  ] as removal,
  class.oid as place
from pg_catalog.pg_attrdef as default_value
inner join pg_catalog.pg_class as class on class.oid = default_value.adrelid
inner join pg_catalog.pg_attribute as attribute
  on attribute.attrelid = class.oid and attribute.attnum = default_value.adnum
cross join lateral (
  select pg_catalog.pg_get_expr(default_value.adbin, default_value.adrelid) as value
) as shown
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and class.relkind = 'v'
