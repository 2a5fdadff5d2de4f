-- Publications that are ours or contain our tables
select
  pg_catalog.format('publication %I', publication.pubname) as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    'owner', publication.pubowner::regrole::text,
    'all tables', publication.puballtables,
    'schemas', (
      select pg_catalog.jsonb_agg(
        listed.pnnspid::regnamespace::text order by listed.pnnspid::regnamespace::text
      )
      from pg_catalog.pg_publication_namespace as listed
      where listed.pnpubid = publication.oid
    ),
    'publish', shown.publish,
    'via partition root', publication.pubviaroot,
    -- From 18 on.
    'generated columns', coalesce(pg_catalog.to_jsonb(publication) ->> 'pubgencols', 'n')
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'publication', pg_catalog.quote_ident(publication.pubname),
    'target', pg_catalog.format('publication %I', publication.pubname),
    'name', publication.pubname,
    'rename', pg_catalog.format('alter publication %I rename to ', publication.pubname)
  ) as parts,
  array[
    pg_catalog.format(
      'create publication %I with (publish = %L, publish_via_partition_root = %s)',
      publication.pubname, shown.publish, publication.pubviaroot::text
    ),
    pg_catalog.format(
      'alter publication %I owner to %s', publication.pubname, publication.pubowner::regrole
    )
  ] as creation,
  array[pg_catalog.format('drop publication %I', publication.pubname)] as removal,
  publication.oid as place
from pg_catalog.pg_publication as publication
cross join lateral (
  select pg_catalog.concat_ws(
    ', ',
    case when publication.pubinsert then 'insert' end,
    case when publication.pubupdate then 'update' end,
    case when publication.pubdelete then 'delete' end,
    case when publication.pubtruncate then 'truncate' end
  ) as publish
) as shown
where publication.pubname = 'sessionbase'
  or exists (
    select
    from pg_catalog.pg_get_publication_tables(publication.pubname) as published
    inner join pg_catalog.pg_class as class on class.oid = published.relid
    where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  )
  or exists (
    select from pg_catalog.pg_publication_namespace as listed
    where listed.pnpubid = publication.oid
      and listed.pnnspid::regnamespace::text in ('app', 'api', 'ops')
  )
