-- The tables of publications: our tables in any, and any table in ours
select
  pg_catalog.format(
    'table %s in publication %I', published.prrelid::regclass, publication.pubname
  ) as object,
  pg_catalog.format('publication %I', publication.pubname) as parent,
  pg_catalog.jsonb_build_object(
    'columns', shown.columns,
    'row filter', shown.row_filter
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'table', published.prrelid::regclass::text,
    'publication', publication.pubname
  ) as parts,
  array[
    pg_catalog.concat(
      pg_catalog.format(
        'alter publication %I add table %s', publication.pubname, published.prrelid::regclass
      ),
      ' (' || shown.columns || ')',
      ' where (' || shown.row_filter || ')'
    )
  ] as creation,
  array[
    pg_catalog.format(
      'alter publication %I drop table %s', publication.pubname, published.prrelid::regclass
    )
  ] as removal,
  published.oid as place
from pg_catalog.pg_publication_rel as published
inner join pg_catalog.pg_publication as publication on publication.oid = published.prpubid
inner join pg_catalog.pg_class as class on class.oid = published.prrelid
cross join lateral (
  select
    (
      select pg_catalog.string_agg(
        pg_catalog.quote_ident(attribute.attname), ', ' order by attribute.attnum
      )
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = published.prrelid
        and attribute.attnum = any(published.prattrs::smallint[])
    ) as columns,
    pg_catalog.pg_get_expr(published.prqual, published.prrelid) as row_filter
) as shown
where publication.pubname = 'sessionbase'
  or class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
