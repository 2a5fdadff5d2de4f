-- An index that is invalid
-- A failed CREATE INDEX CONCURRENTLY leaves one behind: every write updates it, no query uses it,
-- and if it is unique, duplicates may exist all the same.
select
  'error' as level,
  pg_catalog.format('index %s', index.indexrelid::regclass) as object,
  'is invalid' as what,
  pg_catalog.format('reindex index concurrently %s', index.indexrelid::regclass) as remediation
from pg_catalog.pg_index as index
inner join pg_catalog.pg_class as class on class.oid = index.indrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and not (index.indisvalid and index.indisready and index.indislive)
order by object
