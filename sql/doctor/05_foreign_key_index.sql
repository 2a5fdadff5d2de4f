-- A foreign key without an index on its own columns
-- Without it, deleting a row of the referenced table, or changing its key, reads the whole
-- referencing table while the row is locked.
select
  'error' as level,
  pg_catalog.format('constraint %I on %s', fk.conname, fk.conrelid::regclass) as object,
  'is a foreign key, and no index starts with its columns' as what,
  pg_catalog.format(
    'create index concurrently on %s (%s)',
    fk.conrelid::regclass,
    (
      select pg_catalog.string_agg(
        pg_catalog.quote_ident(attribute.attname), ', ' order by key.ordinality
      )
      from pg_catalog.unnest(fk.conkey) with ordinality as key (attnum, ordinality)
      inner join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = fk.conrelid and attribute.attnum = key.attnum
    )
  ) as remediation
from pg_catalog.pg_constraint as fk
where fk.contype = 'f'
  and fk.connamespace::regnamespace::text in ('app', 'api', 'ops')
  and not exists (
    select
    from pg_catalog.pg_index as index
    where index.indrelid = fk.conrelid
      and index.indisvalid
      and index.indpred is null
      -- indkey counts from 0.
      and (index.indkey::smallint[])[0:pg_catalog.cardinality(fk.conkey) - 1] @> fk.conkey
  )
order by object
