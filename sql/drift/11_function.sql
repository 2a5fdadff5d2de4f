-- Functions and procedures: body and every attribute
select
  'function ' || routine.oid::regprocedure as object,
  'schema ' || routine.pronamespace::regnamespace as parent,
  pg_catalog.jsonb_build_object(
    'owner', routine.proowner::regrole::text,
    'kind', case routine.prokind
      when 'f' then 'function' when 'p' then 'procedure' when 'a' then 'aggregate' else 'window'
    end,
    'body', coalesce(pg_catalog.pg_get_function_sqlbody(routine.oid), routine.prosrc),
    'library', routine.probin,
    'language', language.lanname,
    'arguments', pg_catalog.pg_get_function_arguments(routine.oid),
    'result', pg_catalog.pg_get_function_result(routine.oid),
    'volatility', case routine.provolatile
      when 'i' then 'immutable' when 's' then 'stable' else 'volatile'
    end,
    'parallel', case routine.proparallel
      when 's' then 'safe' when 'r' then 'restricted' else 'unsafe'
    end,
    'security', case when routine.prosecdef then 'definer' else 'invoker' end,
    'strict', routine.proisstrict,
    'leakproof', routine.proleakproof,
    'cost', routine.procost,
    'rows', routine.prorows,
    'support function', nullif(routine.prosupport, 0)::regproc::text,
    'settings', (
      select pg_catalog.jsonb_agg(setting.text order by setting.text)
      from pg_catalog.unnest(routine.proconfig) as setting (text)
    )
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'target', shown.target,
    'name', routine.proname,
    'rename', pg_catalog.format('alter %s rename to ', shown.target)
  ) as parts,
  case
    when routine.prokind in ('f', 'p') then array[
      pg_catalog.rtrim(pg_catalog.pg_get_functiondef(routine.oid), E'\n'),
      pg_catalog.format('alter %s owner to %s', shown.target, routine.proowner::regrole),
      pg_catalog.format('revoke execute on %s from public', shown.target)
    ]
  end as creation,
  array['drop ' || shown.target] as removal,
  routine.oid as place
from pg_catalog.pg_proc as routine
inner join pg_catalog.pg_language as language on language.oid = routine.prolang
cross join lateral (
  select 'routine ' || routine.oid::regprocedure as target
) as shown
where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  and not exists (
    select
    from pg_catalog.pg_depend as depend
    where depend.classid = 'pg_catalog.pg_proc'::regclass
      and depend.objid = routine.oid
      and depend.deptype = 'e'
  )
