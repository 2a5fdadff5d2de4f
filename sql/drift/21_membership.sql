-- Memberships of our roles in others, and of others in ours
-- One row per pair: from 16 on, a membership can be granted by several roles. The memberships of
-- superusers and of the current login in our roles are left out: every installation has its own.
select
  pg_catalog.format('membership of %I in %I', member.rolname, role.rolname) as object,
  case
    when member.rolname = any(ours.names) then pg_catalog.format('role %I', member.rolname)
    else pg_catalog.format('role %I', role.rolname)
  end as parent,
  pg_catalog.jsonb_build_object(
    'admin option', pg_catalog.bool_or(one.admin_option),
    -- Null before 16: there the role decides for all its memberships.
    'inherit option', pg_catalog.bool_or(
      (pg_catalog.to_jsonb(one) ->> 'inherit_option')::boolean
    ),
    'set option', pg_catalog.bool_or((pg_catalog.to_jsonb(one) ->> 'set_option')::boolean)
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'role', pg_catalog.quote_ident(role.rolname),
    'member', pg_catalog.quote_ident(member.rolname),
    'member name', member.rolname,
    'grantors', pg_catalog.jsonb_agg(shown.grantor)
  ) as parts,
  array[
    pg_catalog.concat(
      pg_catalog.format('grant %I to %I', role.rolname, member.rolname),
      case when pg_catalog.bool_or(one.admin_option) then ' with admin option' end
    )
  ] as creation,
  pg_catalog.array_agg(
    pg_catalog.format('revoke %I from %I%s', role.rolname, member.rolname, shown.grantor)
  ) as removal,
  pg_catalog.max(role.oid) as place
from pg_catalog.pg_auth_members as one
inner join pg_catalog.pg_roles as role on role.oid = one.roleid
inner join pg_catalog.pg_roles as member on member.oid = one.member
cross join (
  select pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',') as names
) as ours
cross join lateral (
  select case
    when pg_catalog.current_setting('server_version_num')::integer < 160000 then ''
    else ' granted by ' || one.grantor::regrole
  end as grantor
) as shown
where member.rolname = any(ours.names)
  or (
    role.rolname = any(ours.names)
    and not member.rolsuper
    and member.rolname <> session_user
  )
group by role.rolname, member.rolname, ours.names
