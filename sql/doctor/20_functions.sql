-- A function that differs from the shipped files
-- Each function of app and api is compared with the statement in sql/migrations, sql/app or sql/api
-- that creates it: body, parameters, result, language, volatility, security, parallel safety, SET
-- clauses. A difference means that somebody replaced or dropped the function by hand, or that the
-- database and the installed package are of different versions.
with expected as (
  select shipped.signature, shipped.attributes, shipped.source, shipped.remediation
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.functions')::jsonb
  ) as shipped (signature text, attributes jsonb, source text, remediation text)
),

actual as (
  select
    routine.oid::regprocedure::text as signature,
    pg_catalog.jsonb_build_object(
      'kind', case routine.prokind
        when 'f' then 'function' when 'p' then 'procedure' when 'a' then 'aggregate' else 'window'
      end,
      'body', case when routine.prosqlbody is null then routine.prosrc end,
      'language', language.lanname,
      'volatility', case routine.provolatile
        when 'i' then 'immutable' when 's' then 'stable' else 'volatile'
      end,
      'security', case when routine.prosecdef then 'definer' else 'invoker' end,
      'parallel', case routine.proparallel
        when 's' then 'safe' when 'r' then 'restricted' else 'unsafe'
      end,
      'strict', routine.proisstrict,
      'leakproof', routine.proleakproof,
      'set', (
        select coalesce(pg_catalog.jsonb_object_agg(setting.text, true), '{}')
        from pg_catalog.unnest(routine.proconfig) as setting (text)
      ),
      'defaults', coalesce(
        pg_catalog.regexp_replace(
          pg_catalog.pg_get_expr(routine.proargdefaults, 0), '::[a-z_. ]+(\[\])*', '', 'g'
        ),
        ''
      ),
      'returns a set', routine.proretset,
      'arguments', (
        select
          coalesce(
            pg_catalog.jsonb_agg(
              pg_catalog.jsonb_build_array(
                case coalesce(routine.proargmodes[argument.number], 'i')
                  when 'i' then 'in' when 'o' then 'out' when 'b' then 'inout'
                  when 'v' then 'variadic' else 'table'
                end,
                coalesce(routine.proargnames[argument.number], ''),
                pg_catalog.format_type(argument.type, null)
              )
              order by argument.number
            ),
            '[]'
          )
        from pg_catalog.unnest(
          coalesce(routine.proallargtypes, routine.proargtypes::oid[])
        ) with ordinality as argument (type, number)
      ),
      'result', pg_catalog.format_type(routine.prorettype, null)
    ) as attributes
  from pg_catalog.pg_proc as routine
  inner join pg_catalog.pg_language as language on language.oid = routine.prolang
  where routine.pronamespace::regnamespace::text in ('app', 'api')
    and not exists (
      select
      from pg_catalog.pg_depend as depend
      where depend.classid = 'pg_catalog.pg_proc'::regclass
        and depend.objid = routine.oid
        and depend.deptype = 'e'
    )
),

compared as (
  select
    coalesce(expected.signature, actual.signature) as signature,
    expected.signature is not null as is_shipped,
    actual.signature is not null as is_there,
    expected.source,
    expected.remediation,
    (
      select pg_catalog.string_agg(attribute.key, ', ' order by attribute.key)
      from pg_catalog.jsonb_each(expected.attributes) as attribute
      where actual.attributes -> attribute.key is distinct from attribute.value
    ) as differences
  from expected
  full join actual on actual.signature = expected.signature
)

select
  'error' as level,
  'function ' || compared.signature as object,
  case
    when not compared.is_shipped then 'is in the database, and no shipped file creates it'
    when not compared.is_there
      then pg_catalog.format('is missing: %s creates it', compared.source)
    else pg_catalog.format('differs from %s in: %s', compared.source, compared.differences)
  end as what,
  case
    when compared.is_shipped then compared.remediation
    else pg_catalog.format('drop routine %s', compared.signature)
  end as remediation
from compared
where not compared.is_shipped or not compared.is_there or compared.differences is not null
order by object
