-- A constraint that does not hold for every row
-- NOT VALID: rows from before it were never checked, so nobody may rely on it. NOT ENFORCED: no row
-- is.
select
  case when con.conenforced then 'warning' else 'error' end as level,
  pg_catalog.format('constraint %I on %s', con.conname, con.conrelid::regclass) as object,
  case
    when con.conenforced then 'is NOT VALID: older rows were never checked'
    else 'is NOT ENFORCED: nothing checks it'
  end as what,
  pg_catalog.format(
    case
      when con.conenforced then 'alter table %s validate constraint %I'
      else 'alter table %s alter constraint %I enforced, or drop and add it again'
    end,
    con.conrelid::regclass, con.conname
  ) as remediation
from pg_catalog.pg_constraint as con
where con.connamespace::regnamespace::text in ('app', 'api', 'ops')
  and con.conrelid <> 0
  and not (con.convalidated and con.conenforced)
order by object
