-- Tables: storage, partitioning, replica identity, row-level security, order of columns and indexes
select
  'table ' || class.oid::regclass as object,
  pg_catalog.format('schema %I', namespace.nspname) as parent,
  pg_catalog.jsonb_build_object(
    'owner', class.relowner::regrole::text,
    'kind', case class.relkind
      when 'r' then 'table' when 'p' then 'partitioned table' else 'foreign table'
    end,
    'persistence', case class.relpersistence when 'p' then 'logged' else 'unlogged' end,
    'access method', (
      select am.amname from pg_catalog.pg_am as am where am.oid = class.relam
    ),
    'tablespace', (
      select space.spcname from pg_catalog.pg_tablespace as space
      where space.oid = class.reltablespace
    ),
    'storage parameters', (
      select pg_catalog.jsonb_object_agg(option.name, option.option_value)
      from (
        select own.option_name as name, own.option_value
        from pg_catalog.pg_options_to_table(class.reloptions) as own
        union all
        select 'toast.' || theirs.option_name, theirs.option_value
        from pg_catalog.pg_class as toast
        cross join lateral pg_catalog.pg_options_to_table(toast.reloptions) as theirs
        where toast.oid = class.reltoastrelid
      ) as option
    ),
    'replica identity', case class.relreplident
      when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing'
      else (
        select 'using index ' || pg_catalog.quote_ident(identity_class.relname)
        from pg_catalog.pg_index as identity_index
        inner join pg_catalog.pg_class as identity_class
          on identity_class.oid = identity_index.indexrelid
        where identity_index.indrelid = class.oid and identity_index.indisreplident
      )
    end,
    'clustered on', (
      select pg_catalog.quote_ident(cluster_class.relname)
      from pg_catalog.pg_index as cluster_index
      inner join pg_catalog.pg_class as cluster_class
        on cluster_class.oid = cluster_index.indexrelid
      where cluster_index.indrelid = class.oid and cluster_index.indisclustered
    ),
    'row-level security', class.relrowsecurity,
    'forced row-level security', class.relforcerowsecurity,
    'partition key', pg_catalog.pg_get_partkeydef(class.oid),
    'order of columns', (
      select pg_catalog.jsonb_agg(attribute.attname order by attribute.attnum)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
    ),
    'newest index', (
      select pg_catalog.jsonb_agg(index.indexrelid::regclass::text order by index.indexrelid)
      from pg_catalog.pg_index as index
      where index.indrelid = class.oid
    )
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'table', class.oid::regclass::text,
    'target', 'table ' || class.oid::regclass,
    'name', class.relname,
    'rename', pg_catalog.format('alter table %s rename to ', class.oid::regclass)
  ) as parts,
  case
    when class.relkind = 'r' then array[
      pg_catalog.format(
        'create %stable %s ()%s',
        case class.relpersistence when 'u' then 'unlogged ' else '' end,
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
        )
      ),
      pg_catalog.format('alter table %s owner to %s', class.oid::regclass, class.relowner::regrole)
    ]
    || case
      when class.relrowsecurity
        then array[
          pg_catalog.format('alter table %s enable row level security', class.oid::regclass)
        ]
      else '{}'
    end
    || case
      when class.relforcerowsecurity
        then array[
          pg_catalog.format('alter table %s force row level security', class.oid::regclass)
        ]
      else '{}'
    end
    || case class.relreplident
      when 'f'
        then array[
          pg_catalog.format('alter table %s replica identity full', class.oid::regclass)
        ]
      else '{}'
    end
  end as creation,
  null::text[] as removal,
  class.oid as place
from pg_catalog.pg_class as class
inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname in ('app', 'api', 'ops')
  and class.relkind in ('r', 'p', 'f')
