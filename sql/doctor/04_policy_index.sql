-- A column that a policy compares, without an index that starts with it
-- The policy is part of every query on the table. Without such an index each request reads the rows
-- of all profiles to find its own.
select distinct
  'error' as level,
  pg_catalog.format('column %s.%I', policy.polrelid::regclass, attribute.attname) as object,
  'is compared by a policy, and no index starts with it' as what,
  pg_catalog.format(
    'create index concurrently on %s (%I)', policy.polrelid::regclass, attribute.attname
  ) as remediation
from pg_catalog.pg_policy as policy
inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
inner join pg_catalog.pg_depend as depend
  on depend.classid = 'pg_catalog.pg_policy'::regclass
  and depend.objid = policy.oid
  and depend.refclassid = 'pg_catalog.pg_class'::regclass
  and depend.refobjid = policy.polrelid
  and depend.refobjsubid > 0
inner join pg_catalog.pg_attribute as attribute
  on attribute.attrelid = policy.polrelid and attribute.attnum = depend.refobjsubid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and not exists (
    select
    from pg_catalog.pg_index as index
    where index.indrelid = policy.polrelid
      and index.indisvalid
      and index.indpred is null
      and index.indkey[0] = attribute.attnum
  )
order by object
