-- Row-level security policies
select
  pg_catalog.format('policy %I on %s', policy.polname, policy.polrelid::regclass) as object,
  'table ' || policy.polrelid::regclass as parent,
  pg_catalog.jsonb_build_object(
    'command', shown.command,
    'kind', shown.kind,
    'roles', shown.roles,
    'using', shown.condition,
    'with check', shown.check_condition
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'table', policy.polrelid::regclass::text,
    'policy', pg_catalog.quote_ident(policy.polname),
    'name', policy.polname,
    'rename', pg_catalog.format(
      'alter policy %s on %s rename to ',
      pg_catalog.quote_ident(policy.polname),
      policy.polrelid::regclass
    )
  ) as parts,
  array[
    pg_catalog.concat(
      pg_catalog.format(
        'create policy %I on %s as %s for %s to %s',
        policy.polname, policy.polrelid::regclass, shown.kind, shown.command, shown.roles
      ),
      ' using (' || shown.condition || ')',
      ' with check (' || shown.check_condition || ')'
    )
  ] as creation,
  array[
    pg_catalog.format('drop policy %I on %s', policy.polname, policy.polrelid::regclass)
  ] as removal,
  policy.oid as place
from pg_catalog.pg_policy as policy
inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
cross join lateral (
  select
    case policy.polcmd
      when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
      else 'all'
    end as command,
    case when policy.polpermissive then 'permissive' else 'restrictive' end as kind,
    (
      select pg_catalog.string_agg(
        case role.oid when 0 then 'public' else role.oid::regrole::text end, ', '
        order by case role.oid when 0 then 'public' else role.oid::regrole::text end
      )
      from pg_catalog.unnest(policy.polroles) as role (oid)
    ) as roles,
    pg_catalog.pg_get_expr(policy.polqual, policy.polrelid) as condition,
    pg_catalog.pg_get_expr(policy.polwithcheck, policy.polrelid) as check_condition
) as shown
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
