-- A view that is not security_invoker
-- Such a view reads its tables as its owner, to whom row-level security does not apply: every role
-- that may read the view sees the rows of all profiles. A materialized view and a foreign table can
-- have no row-level security at all.
select
  'error' as level,
  pg_catalog.format('view %I.%I', namespace.nspname, class.relname) as object,
  case class.relkind
    when 'v' then 'reads its tables with the rights of its owner'
    when 'm' then 'is materialized: it can have no row-level security'
    else 'is a foreign table: it can have no row-level security'
  end as what,
  case class.relkind
    when 'v' then pg_catalog.format(
      'alter view %I.%I set (security_invoker = true)', namespace.nspname, class.relname
    )
    else 'move it to a schema that no client role may use'
  end as remediation
from pg_catalog.pg_class as class
inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname in ('app', 'api', 'ops')
  and class.relkind in ('v', 'm', 'f')
  and not exists (
    select
    from pg_catalog.pg_options_to_table(class.reloptions) as option
    where class.relkind = 'v'
      and option.option_name = 'security_invoker'
      and option.option_value in ('true', 'on', 'yes', '1')
  )
order by object
