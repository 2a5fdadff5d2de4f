-- A column without planner statistics
-- A statistics target of 0 stops ANALYZE from collecting statistics on the column. The planner then
-- assumes default values and can choose a slow plan: each write of a new profile read all rows of the
-- profile (importing 80,000 records took 83 s instead of 3 s).
select
  'warning' as level,
  pg_catalog.format('column %s.%I', class.oid::regclass, attribute.attname) as object,
  'has the statistics target 0: ANALYZE collects nothing for the planner' as what,
  pg_catalog.format(
    'alter table %s alter column %I set statistics -1', class.oid::regclass, attribute.attname
  ) as remediation
from pg_catalog.pg_class as class
inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
where class.relnamespace::regnamespace::text = 'app'
  and class.relkind in ('r', 'p')
  and attribute.attnum > 0
  and not attribute.attisdropped
  -- The default is null from PostgreSQL 17 on, and -1 before.
  and attribute.attstattarget = 0
order by object
