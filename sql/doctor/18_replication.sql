-- A publication that live sync or writing trips over
-- A replication client such as Electric needs whole old rows, so each table of the publication
-- sessionbase has a full replica identity. And a table with such an identity and a generated column
-- refuses every UPDATE while any publication that it is in leaves generated columns out: a
-- publication FOR ALL TABLES, made for a replica, stops the app.
select
  'error' as level,
  pg_catalog.format('publication %I', publication.pubname) as object,
  pg_catalog.format('has %s, whose replica identity is not full', class.oid::regclass) as what,
  pg_catalog.format('alter table %s replica identity full', class.oid::regclass) as remediation
from pg_catalog.pg_publication as publication
cross join lateral pg_catalog.pg_get_publication_tables(publication.pubname) as published
inner join pg_catalog.pg_class as class on class.oid = published.relid
where publication.pubname = 'sessionbase'
  and class.relreplident <> 'f'
union all
select
  'error',
  pg_catalog.format('publication %I', publication.pubname),
  pg_catalog.format(
    'leaves out column %I of %s: PostgreSQL refuses to update that table',
    attribute.attname, class.oid::regclass
  ),
  pg_catalog.format(
    'alter publication %I set (publish_generated_columns = stored)', publication.pubname
  )
from pg_catalog.pg_publication as publication
cross join lateral pg_catalog.pg_get_publication_tables(publication.pubname) as published
inner join pg_catalog.pg_class as class on class.oid = published.relid
inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and class.relreplident = 'f'
  and publication.pubupdate
  and publication.pubgencols = 'n'
  and published.attrs is not null
  and attribute.attgenerated <> ''
  and not attribute.attisdropped
  and not attribute.attnum = any(published.attrs::smallint[])
order by object, what
