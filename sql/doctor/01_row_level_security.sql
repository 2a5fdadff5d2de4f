-- A table without row-level security, or without a policy
-- Row-level security keeps the profiles apart: a table in app without it shows every row to every
-- role that may read it. A table with row-level security and no policy shows no row to any client.
-- That is right for the tables of ops, and for those of app on which sql/authority.json gives no
-- role a right; for any other table of app it is a mistake.
select
  case when class.relrowsecurity and namespace.nspname <> 'ops' then 'warning' else 'error' end
    as level,
  pg_catalog.format('table %I.%I', namespace.nspname, class.relname) as object,
  case
    when not class.relrowsecurity then 'has no row-level security'
    when namespace.nspname = 'ops' then 'has a policy, but no client may read it'
    else 'has row-level security and no policy: no client sees a row'
  end as what,
  case
    when not class.relrowsecurity then pg_catalog.format(
      'alter table %I.%I enable row level security', namespace.nspname, class.relname
    )
    when namespace.nspname = 'ops' then 'drop the policy: only the owner reads the migration ledger'
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
    or (namespace.nspname = 'ops' and found.has_policy)
    or (
      namespace.nspname <> 'ops'
      and not found.has_policy
      and not exists (
        select
        from pg_catalog.jsonb_to_recordset(
          pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'tables'
        ) as listed (table_name text, is_closed boolean)
        where listed.table_name = class.oid::regclass::text and listed.is_closed
      )
    )
  )
order by object
