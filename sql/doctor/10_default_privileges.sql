-- Default privileges that let everyone execute new functions
-- PostgreSQL grants EXECUTE on a new function to public unless the owner's global default privileges
-- revoke it. Any other default grant would apply to everything that the next migration creates.
with granted as (
  select
    defaults.defaclnamespace,
    defaults.defaclobjtype,
    entry.grantee,
    entry.privilege_type
  from pg_catalog.pg_default_acl as defaults
  cross join lateral pg_catalog.aclexplode(defaults.defaclacl) as entry
  where defaults.defaclrole::regrole::text = 'sessionbase_owner'
    and entry.grantee <> defaults.defaclrole
)

select
  'error' as level,
  'default privileges of sessionbase_owner' as object,
  'public may execute every new function' as what,
  'as sessionbase_owner: alter default privileges revoke execute on functions from public'
    as remediation
where not exists (
  select
  from pg_catalog.pg_default_acl as defaults
  where defaults.defaclrole::regrole::text = 'sessionbase_owner'
    and defaults.defaclnamespace = 0
    and defaults.defaclobjtype = 'f'
    and not exists (
      select
      from pg_catalog.aclexplode(defaults.defaclacl) as entry
      where entry.grantee = 0
    )
)
union all
select
  'error',
  'default privileges of sessionbase_owner',
  pg_catalog.format(
    '%s gets %s on each new %s%s',
    case when granted.grantee = 0 then 'public' else granted.grantee::regrole::text end,
    granted.privilege_type,
    case granted.defaclobjtype
      when 'r' then 'table' when 'S' then 'sequence' when 'f' then 'function'
      when 'T' then 'type' when 'n' then 'schema' else 'object'
    end,
    case
      when granted.defaclnamespace <> 0
        then ' in schema ' || granted.defaclnamespace::regnamespace::text
      else ''
    end
  ),
  'as sessionbase_owner: alter default privileges … revoke it; grant object by object'
from granted
-- PostgreSQL's own default, which a stored entry repeats, and the rows above for functions.
where not (granted.defaclobjtype = 'T' and granted.grantee = 0)
  and not (
    granted.defaclobjtype = 'f' and granted.grantee = 0 and granted.defaclnamespace = 0
  )
order by object, what
