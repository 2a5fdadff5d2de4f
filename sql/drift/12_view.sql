-- Views and materialized views: definition and options
select
  shown.kind || ' ' || class.oid::regclass as object,
  'schema ' || class.relnamespace::regnamespace as parent,
  pg_catalog.jsonb_build_object(
    'owner', class.relowner::regrole::text,
    'definition', shown.definition,
    'options', (
      select pg_catalog.jsonb_object_agg(option.option_name, option.option_value)
      from pg_catalog.pg_options_to_table(class.reloptions) as option
    ),
    'populated', class.relispopulated
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'view', class.oid::regclass::text,
    'target', shown.kind || ' ' || class.oid::regclass,
    'name', class.relname,
    'columns', (
      select pg_catalog.jsonb_agg(
        pg_catalog.format(
          '%I %s', attribute.attname,
          pg_catalog.format_type(attribute.atttypid, attribute.atttypmod)
        )
        order by attribute.attnum
      )
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = class.oid and attribute.attnum > 0
    ),
    'rename', pg_catalog.format('alter %s %s rename to ', shown.kind, class.oid::regclass)
  ) as parts,
  array[
    pg_catalog.format(
      'create %s %s%s as %s',
      case class.relkind when 'v' then 'or replace view' else shown.kind end,
      class.oid::regclass,
      (
        select pg_catalog.format(
          ' with (%s)',
          pg_catalog.string_agg(
            pg_catalog.format('%s = %L', option.option_name, option.option_value), ', '
          )
        )
        from pg_catalog.pg_options_to_table(class.reloptions) as option
        having pg_catalog.count(*) > 0
      ),
      shown.definition
    ),
    pg_catalog.format(
      'alter %s %s owner to %s', shown.kind, class.oid::regclass, class.relowner::regrole
    )
  ] as creation,
  array[pg_catalog.format('drop %s %s', shown.kind, class.oid::regclass)] as removal,
  class.oid as place
from pg_catalog.pg_class as class
cross join lateral (
  select
    case class.relkind when 'v' then 'view' else 'materialized view' end as kind,
    pg_catalog.rtrim(pg_catalog.pg_get_viewdef(class.oid), ';') as definition
) as shown
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and class.relkind in ('v', 'm')
