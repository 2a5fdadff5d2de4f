-- A constraint that is not checked for every row
-- NOT VALID: the rows that are older than the constraint were never checked. NOT ENFORCED (from
-- PostgreSQL 18 on): no row is checked.
with rule as (
  select
    con.conname,
    con.conrelid,
    con.convalidated,
    -- Before PostgreSQL 18 there is no such column, and every constraint is enforced.
    coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced')::boolean, true) as is_enforced
  from pg_catalog.pg_constraint as con
  where con.connamespace::regnamespace::text in ('app', 'api', 'ops')
    and con.conrelid <> 0
)

select
  case when rule.is_enforced then 'warning' else 'error' end as level,
  pg_catalog.format('constraint %I on %s', rule.conname, rule.conrelid::regclass) as object,
  case
    when rule.is_enforced then 'is NOT VALID: older rows were never checked'
    else 'is NOT ENFORCED: no row is checked'
  end as what,
  pg_catalog.format(
    case
      when rule.is_enforced then 'alter table %s validate constraint %I'
      else 'alter table %s alter constraint %I enforced, or drop and add it again'
    end,
    rule.conrelid::regclass, rule.conname
  ) as remediation
from rule
where not (rule.convalidated and rule.is_enforced)
order by object
