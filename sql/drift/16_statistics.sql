-- Extended statistics
select
  pg_catalog.format('statistics %I.%I', namespace.nspname, held.stxname) as object,
  'table ' || held.stxrelid::regclass as parent,
  pg_catalog.jsonb_build_object(
    'owner', held.stxowner::regrole::text,
    'definition', pg_catalog.pg_get_statisticsobjdef(held.oid),
    'statistics target', nullif(held.stxstattarget, -1)
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'target', pg_catalog.format('statistics %I.%I', namespace.nspname, held.stxname)
  ) as parts,
  array[
    pg_catalog.pg_get_statisticsobjdef(held.oid),
    pg_catalog.format(
      'alter statistics %I.%I owner to %s', namespace.nspname, held.stxname,
      held.stxowner::regrole
    )
  ] as creation,
  array[pg_catalog.format('drop statistics %I.%I', namespace.nspname, held.stxname)] as removal,
  held.oid as place
from pg_catalog.pg_statistic_ext as held
inner join pg_catalog.pg_namespace as namespace on namespace.oid = held.stxnamespace
inner join pg_catalog.pg_class as class on class.oid = held.stxrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  or namespace.nspname in ('app', 'api', 'ops')
