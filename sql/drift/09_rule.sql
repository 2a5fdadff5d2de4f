-- Rewrite rules on our tables and views
select
  pg_catalog.format('rule %I on %s', rule.rulename, rule.ev_class::regclass) as object,
  case class.relkind when 'v' then 'view ' else 'table ' end || class.oid::regclass as parent,
  pg_catalog.jsonb_build_object(
    'definition', pg_catalog.pg_get_ruledef(rule.oid),
    'state', case rule.ev_enabled
      when 'O' then 'enabled' when 'D' then 'disabled' when 'A' then 'enabled always'
      else 'enabled on replicas only'
    end
  ) as attributes,
  '{}'::jsonb as parts,
  array[pg_catalog.rtrim(pg_catalog.pg_get_ruledef(rule.oid), ';')] as creation,
  array[
    pg_catalog.format('drop rule %I on %s', rule.rulename, rule.ev_class::regclass)
  ] as removal,
  rule.oid as place
from pg_catalog.pg_rewrite as rule
inner join pg_catalog.pg_class as class on class.oid = rule.ev_class
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and rule.rulename <> '_RETURN'
