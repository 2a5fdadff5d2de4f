-- Types: enums, domains, ranges, composite and base types
select
  'type ' || type.oid::regtype as object,
  'schema ' || type.typnamespace::regnamespace as parent,
  pg_catalog.jsonb_build_object(
    'owner', type.typowner::regrole::text,
    'kind', case type.typtype
      when 'e' then 'enum' when 'd' then 'domain' when 'r' then 'range' when 'c' then 'composite'
      when 'm' then 'multirange' else 'base'
    end,
    'labels', (
      select pg_catalog.jsonb_agg(label.enumlabel order by label.enumsortorder)
      from pg_catalog.pg_enum as label
      where label.enumtypid = type.oid
    ),
    'base type', case
      when type.typtype = 'd' then pg_catalog.format_type(type.typbasetype, type.typtypmod)
    end,
    'not null', type.typnotnull,
    'default', type.typdefault,
    'collation', nullif(type.typcollation, 0)::regcollation::text,
    'subtype', (
      select pg_catalog.format_type(range.rngsubtype, null)
      from pg_catalog.pg_range as range
      where range.rngtypid = type.oid
    )
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'type', type.oid::regtype::text,
    'target', 'type ' || type.oid::regtype,
    'name', type.typname,
    'rename', pg_catalog.format('alter type %s rename to ', type.oid::regtype)
  ) as parts,
  case
    when type.typtype = 'c' then array[
      pg_catalog.format('create type %s as ()', type.oid::regtype),
      pg_catalog.format('alter type %s owner to %s', type.oid::regtype, type.typowner::regrole)
    ]
    when type.typtype = 'e' then array[
      pg_catalog.format(
        'create type %s as enum (%s)', type.oid::regtype,
        (
          select pg_catalog.string_agg(
            pg_catalog.quote_literal(label.enumlabel), ', ' order by label.enumsortorder
          )
          from pg_catalog.pg_enum as label
          where label.enumtypid = type.oid
        )
      ),
      pg_catalog.format('alter type %s owner to %s', type.oid::regtype, type.typowner::regrole)
    ]
  end as creation,
  array['drop type ' || type.oid::regtype] as removal,
  coalesce(nullif(type.typrelid, 0), type.oid) as place
from pg_catalog.pg_type as type
left join pg_catalog.pg_class as class on class.oid = type.typrelid
where type.typnamespace::regnamespace::text in ('app', 'api', 'ops')
  -- Not the row type of a table or view, not an array, not the multirange of a range.
  and (type.typtype in ('e', 'd', 'r') or class.relkind = 'c'
    or (type.typtype = 'b' and not exists (
      select from pg_catalog.pg_type as element where element.typarray = type.oid
    )))
  and not exists (
    select
    from pg_catalog.pg_depend as depend
    where depend.classid = 'pg_catalog.pg_type'::regclass
      and depend.objid = type.oid
      and depend.deptype = 'e'
  )
