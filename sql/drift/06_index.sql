-- Indexes: definition, validity, tablespace
select
  'index ' || index.indexrelid::regclass as object,
  coalesce(
    'constraint ' || pg_catalog.quote_ident(held.conname) || ' on ' || held.conrelid::regclass,
    case parent_class.relkind when 'm' then 'materialized view ' else 'table ' end
    || index.indrelid::regclass
  ) as parent,
  pg_catalog.jsonb_build_object(
    -- Without the name of the index, so that a renamed one is recognised.
    'definition', pg_catalog.regexp_replace(
      pg_catalog.pg_get_indexdef(index.indexrelid), '^(CREATE (UNIQUE )?INDEX ).*? ON ', '\1ON '
    ),
    'valid', index.indisvalid and index.indisready and index.indislive,
    'immediate', index.indimmediate,
    'tablespace', (
      select space.spcname from pg_catalog.pg_tablespace as space
      where space.oid = class.reltablespace
    ),
    'statistics targets', (
      select pg_catalog.jsonb_object_agg(attribute.attnum::text, attribute.attstattarget)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = index.indexrelid and attribute.attstattarget >= 0
    )
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'index', index.indexrelid::regclass::text,
    'name', class.relname,
    'columns', (
      select pg_catalog.jsonb_agg(
        pg_catalog.format('column %s.%I', parent_class.oid::regclass, attribute.attname)
      )
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = index.indrelid
        and attribute.attnum = any(index.indkey::smallint[])
    ),
    'belongs to', index.indrelid::regclass::text,
    'rename', pg_catalog.format('alter index %s rename to ', index.indexrelid::regclass)
  ) as parts,
  -- The index of a constraint is created and removed with it.
  case
    when held.oid is null then array[
      pg_catalog.regexp_replace(
        pg_catalog.pg_get_indexdef(index.indexrelid), '^CREATE (UNIQUE )?INDEX ',
        'CREATE \1INDEX CONCURRENTLY '
      )
    ]
  end as creation,
  case
    when held.oid is null then array['drop index concurrently ' || index.indexrelid::regclass]
  end as removal,
  index.indexrelid as place
from pg_catalog.pg_index as index
inner join pg_catalog.pg_class as class on class.oid = index.indexrelid
inner join pg_catalog.pg_class as parent_class on parent_class.oid = index.indrelid
left join pg_catalog.pg_constraint as held
  on held.conindid = index.indexrelid and held.contype in ('p', 'u', 'x')
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
