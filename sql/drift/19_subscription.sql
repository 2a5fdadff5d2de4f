-- Subscriptions of this database that write to our tables, or that have no tables yet
select
  pg_catalog.format('subscription %I', subscription.subname) as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    'owner', subscription.subowner::regrole::text,
    'enabled', subscription.subenabled,
    'publications', subscription.subpublications
  ) as attributes,
  '{}'::jsonb as parts,
  null::text[] as creation,
  null::text[] as removal,
  subscription.oid as place
from pg_catalog.pg_subscription as subscription
where subscription.subdbid = (
    select database.oid from pg_catalog.pg_database as database
    where database.datname = pg_catalog.current_database()
  )
  and (
    exists (
      select from pg_catalog.pg_subscription_rel as written
      inner join pg_catalog.pg_class as class on class.oid = written.srrelid
      where written.srsubid = subscription.oid
        and class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    )
    or not exists (
      select from pg_catalog.pg_subscription_rel as written
      where written.srsubid = subscription.oid
    )
  )
