-- A table without row-level security, or without a policy
-- Row-level security is what keeps the profiles apart: a table in app without it shows every row to
-- every role that may read it. One that has it and no policy shows nothing to anybody, which in app
-- is a mistake, too. In ops it is right: nobody but the owner reads the ledger, so there a policy
-- would be the mistake.
select
  case when class.relrowsecurity and namespace.nspname <> 'ops' then 'warning' else 'error' end
    as level,
  pg_catalog.format('table %I.%I', namespace.nspname, class.relname) as object,
  case
    when not class.relrowsecurity then 'has no row-level security'
    when namespace.nspname = 'ops' then 'has a policy, though no client should reach it'
    else 'has row-level security and no policy: no client sees a row'
  end as what,
  case
    when not class.relrowsecurity then pg_catalog.format(
      'alter table %I.%I enable row level security', namespace.nspname, class.relname
    )
    when namespace.nspname = 'ops' then 'drop policy: only the owner reads the ledger'
    else 'create policy … to ROLE using (profile_id = (select app.profile_id()))'
  end as remediation
from pg_catalog.pg_class as class
inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join lateral (
  select exists (
    select from pg_catalog.pg_policy as policy where policy.polrelid = class.oid
  ) as has_policy
) as found
where namespace.nspname in ('app', 'api', 'ops')
  and class.relkind in ('r', 'p')
  and (
    not class.relrowsecurity
    or found.has_policy = (namespace.nspname = 'ops')
  )
order by object
