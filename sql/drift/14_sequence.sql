-- Sequences, except their current value
select
  'sequence ' || class.oid::regclass as object,
  coalesce(
    'column ' || shown.owned_column,
    'schema ' || class.relnamespace::regnamespace
  ) as parent,
  pg_catalog.jsonb_build_object(
    'owner', class.relowner::regrole::text,
    'persistence', case class.relpersistence when 'p' then 'logged' else 'unlogged' end,
    'type', pg_catalog.format_type(sequence.seqtypid, null),
    'start', sequence.seqstart,
    'increment', sequence.seqincrement,
    'minimum', sequence.seqmin,
    'maximum', sequence.seqmax,
    'cache', sequence.seqcache,
    'cycle', sequence.seqcycle,
    'owned by', shown.owned_column
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'sequence', class.oid::regclass::text,
    'target', 'sequence ' || class.oid::regclass,
    'name', class.relname,
    'rename', pg_catalog.format('alter sequence %s rename to ', class.oid::regclass)
  ) as parts,
  case
    when shown.is_identity is not true then array[
      pg_catalog.format(
        'create sequence %s as %s increment %s minvalue %s maxvalue %s start %s cache %s%s',
        class.oid::regclass, pg_catalog.format_type(sequence.seqtypid, null),
        sequence.seqincrement, sequence.seqmin, sequence.seqmax, sequence.seqstart,
        sequence.seqcache, case when sequence.seqcycle then ' cycle' end
      ),
      pg_catalog.format(
        'alter sequence %s owner to %s', class.oid::regclass, class.relowner::regrole
      )
    ]
    || case
      when shown.owned_column is null then '{}'
      else array[
        pg_catalog.format(
          'alter sequence %s owned by %s', class.oid::regclass, shown.owned_column
        )
      ]
    end
  end as creation,
  null::text[] as removal,
  class.oid as place
from pg_catalog.pg_sequence as sequence
inner join pg_catalog.pg_class as class on class.oid = sequence.seqrelid
left join lateral (
  select
    pg_catalog.format('%s.%I', depend.refobjid::regclass, attribute.attname) as owned_column,
    attribute.attidentity <> '' as is_identity
  from pg_catalog.pg_depend as depend
  inner join pg_catalog.pg_attribute as attribute
    on attribute.attrelid = depend.refobjid and attribute.attnum = depend.refobjsubid
  where depend.classid = 'pg_catalog.pg_class'::regclass
    and depend.objid = class.oid
    and depend.refclassid = 'pg_catalog.pg_class'::regclass
    and depend.deptype in ('a', 'i')
) as shown on true
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
