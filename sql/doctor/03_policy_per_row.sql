-- A policy that evaluates the identity for each row
-- A bare app.profile_id() or current_setting() in a policy is evaluated for each row that is read;
-- inside (select …) it is evaluated once per statement. Over a million rows that was measured: two
-- seconds against forty milliseconds.
with recursive expression as (
  select policy.oid, part.kind, part.text
  from pg_catalog.pg_policy as policy
  inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
  cross join lateral (
    values
      ('using', pg_catalog.pg_get_expr(policy.polqual, policy.polrelid)),
      ('with check', pg_catalog.pg_get_expr(policy.polwithcheck, policy.polrelid))
  ) as part (kind, text)
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and part.text is not null
),

-- From the innermost parentheses outwards: a scalar subselect without FROM is removed, any other
-- parentheses become brackets. What is left when no parentheses remain is evaluated for each row.
stripped as (
  select expression.oid, expression.kind, expression.text
  from expression
  union all
  select
    stripped.oid,
    stripped.kind,
    pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        stripped.text, '\(\s*SELECT\s(?:(?!\sFROM\s)[^()])*\)', '', 'g'
      ),
      '\(((?!\s*SELECT\s)[^()]*|\s*SELECT\s[^()]*\sFROM\s[^()]*)\)', '[\1]', 'g'
    )
  from stripped
  where stripped.text ~ '\([^()]*\)'
)

select
  'error' as level,
  pg_catalog.format('policy %I on %s', policy.polname, policy.polrelid::regclass) as object,
  pg_catalog.format('evaluates the identity for each row in %s', stripped.kind) as what,
  'write it as a scalar subselect: profile_id = (select app.profile_id())' as remediation
from stripped
inner join pg_catalog.pg_policy as policy on policy.oid = stripped.oid
where stripped.text !~ '\([^()]*\)'
  and stripped.text ~ '(app\.profile_id|app\.actor|auth\.\w+|current_setting)\['
order by object, what
