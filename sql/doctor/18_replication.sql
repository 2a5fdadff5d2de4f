-- Replication that is incomplete, or a replication role that may do too much
-- A replication client such as Electric needs whole old rows, so each table of the publication
-- sessionbase has a full replica identity; on any other table that identity only costs WAL. A table
-- with such an identity and a generated column refuses every UPDATE while a publication that it is
-- in leaves generated columns out. And a login with REPLICATION can copy the whole cluster with
-- pg_basebackup, unless pg_hba.conf keeps it to logical replication of this database.
with
-- Only some logins may read pg_hba_file_rules. For the others, a query that names it fails before it
-- starts. So the query is a text that is executed only if the login may read the view: ts_stat can
-- execute a text on every server (query_to_xml needs a server with libxml). A rule admits the role
-- if its method is not reject, and it can match the role and a physical replication connection
-- ("replication") or a connection to another database ("all"). It is not reported after a rule that
-- rejects all of that from every address, because the first matching rule decides. Before 16 the
-- rules have no number, and their order is that of the lines.
pg_hba (is_readable, lets_in) as (
  select
    readable.is_readable,
    case
      when readable.is_readable then exists (
        select from pg_catalog.ts_stat(
          $$
          with rule as (
            select
              coalesce(
                (pg_catalog.to_jsonb(line) ->> 'rule_number')::int, line.line_number
              ) as number,
              line.type as kind,
              line.address,
              line.user_name,
              line.auth_method,
              line.error,
              keyword.name as keyword,
              keyword.name = any(line.database) as is_for_all
            from pg_catalog.pg_hba_file_rules as line
            cross join (values ('replication'), ('all')) as keyword (name)
            where line.error is not null
              or keyword.name = any(line.database)
              -- another database, by its name or by a keyword
              or (
                keyword.name = 'all'
                and not line.database <@ array['replication', pg_catalog.current_database()]::text[]
              )
          )

          select 'in'::tsvector as lets_in
          from rule
          where rule.error is not null
            or (
              rule.auth_method <> 'reject'
              and exists (
                select from pg_catalog.unnest(rule.user_name) as who (name)
                where who.name in ('all', 'sessionbase_replicator') or who.name ~ '^[+/]'
              )
              and not exists (
                select from rule as earlier
                where earlier.number < rule.number
                  and earlier.auth_method = 'reject'
                  and earlier.keyword = rule.keyword
                  and earlier.is_for_all
                  and earlier.user_name && array['all', 'sessionbase_replicator']
                  and case
                    when rule.kind = 'local' then earlier.kind = 'local'
                    else earlier.kind = 'host' and earlier.address = 'all'
                  end
              )
            )
          $$
        )
      )
    end
  from (
    select pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'select')
      and pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'execute')
      as is_readable
  ) as readable
)

select
  'error' as level,
  pg_catalog.format('publication %I', publication.pubname) as object,
  pg_catalog.format('has %s, whose replica identity is not full', class.oid::regclass) as what,
  pg_catalog.format('alter table %s replica identity full', class.oid::regclass) as remediation
from pg_catalog.pg_publication as publication
inner join pg_catalog.pg_publication_rel as published on published.prpubid = publication.oid
inner join pg_catalog.pg_class as class on class.oid = published.prrelid
where publication.pubname = 'sessionbase'
  and class.relreplident <> 'f'
union all
select
  'warning',
  pg_catalog.format('table %s', class.oid::regclass),
  'has a full replica identity, and no publication has the table: '
  || 'each update and delete writes the whole old row to the WAL, and no client reads it',
  pg_catalog.format('alter table %s replica identity default', class.oid::regclass)
from pg_catalog.pg_class as class
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and class.relreplident = 'f'
  and class.relkind in ('r', 'p')
  and not exists (
    select from pg_catalog.pg_publication as publication
    cross join lateral pg_catalog.pg_get_publication_tables(publication.pubname) as published
    where published.relid = class.oid
  )
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
  -- Before 18 there is no such option, and such an update is not refused.
  and pg_catalog.to_jsonb(publication) ->> 'pubgencols' = 'n'
  and published.attrs is not null
  and attribute.attgenerated <> ''
  and not attribute.attisdropped
  and not attribute.attnum = any(published.attrs::smallint[])
union all
select
  'warning',
  'role sessionbase_replicator',
  case
    when pg_hba.is_readable
      then 'has REPLICATION, and pg_hba.conf lets it do more than logical replication of '
        || 'this database: it can copy the whole cluster with pg_basebackup'
    else 'has REPLICATION, and this login may not read pg_hba_file_rules: it is not known '
      || 'whether pg_hba.conf keeps the role from copying the whole cluster'
  end,
  case
    when pg_hba.is_readable
      then 'put the lines that sessionbase replication status prints at the top of pg_hba.conf'
    else 'a superuser runs sessionbase doctor'
  end
from pg_catalog.pg_roles as role
cross join pg_hba
where role.rolname = 'sessionbase_replicator'
  and role.rolreplication
  and pg_hba.lets_in is distinct from false
order by object, what
