-- Constraints of our tables and domains, and foreign keys of other tables to ours
select
  pg_catalog.format('constraint %I on %s', held.conname, shown.owner_object) as object,
  case when shown.is_ours then shown.parent end as parent,
  pg_catalog.jsonb_build_object(
    'definition', shown.definition,
    'validated', held.convalidated,
    'deferrable', case
      when held.condeferred then 'deferrable initially deferred'
      when held.condeferrable then 'deferrable initially immediate'
      else 'not deferrable'
    end,
    -- From 18 on.
    'enforced', coalesce((pg_catalog.to_jsonb(held) ->> 'conenforced')::boolean, true),
    'internal triggers', (
      select pg_catalog.jsonb_object_agg(
        pg_catalog.format(
          '%s on %s', trigger.tgfoid::regproc, trigger.tgrelid::regclass
        ),
        case trigger.tgenabled
          when 'D' then 'disabled' when 'A' then 'enabled always' else 'enabled on replicas only'
        end
      )
      from pg_catalog.pg_trigger as trigger
      where trigger.tgconstraint = held.oid
        and trigger.tgisinternal
        and trigger.tgenabled <> 'O'
    )
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'table', shown.owner_object,
    'constraint', pg_catalog.quote_ident(held.conname),
    'name', held.conname,
    'type', held.contype,
    'alter', shown.alter,
    'columns', (
      select pg_catalog.jsonb_agg(
        pg_catalog.format('column %s.%I', class.oid::regclass, attribute.attname)
      )
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = held.conrelid and attribute.attnum = any(held.conkey)
    ),
    'index', case when held.contype in ('p', 'u', 'x') then held.conindid::regclass::text end,
    'internal trigger statements', (
      select pg_catalog.jsonb_agg(
        pg_catalog.format(
          'alter table %s enable trigger %I', trigger.tgrelid::regclass, trigger.tgname
        )
        order by trigger.tgname
      )
      from pg_catalog.pg_trigger as trigger
      where trigger.tgconstraint = held.oid
        and trigger.tgisinternal
        and trigger.tgenabled <> 'O'
    ),
    'rename', pg_catalog.format(
      '%s rename constraint %s to ', shown.alter,
      pg_catalog.quote_ident(held.conname)
    )
  ) as parts,
  array[
    pg_catalog.format(
      '%s add constraint %I %s', shown.alter, held.conname,
      pg_catalog.pg_get_constraintdef(held.oid)
    )
  ] as creation,
  array[pg_catalog.format('%s drop constraint %I', shown.alter, held.conname)] as removal,
  held.oid as place
from pg_catalog.pg_constraint as held
left join pg_catalog.pg_class as class on class.oid = held.conrelid
left join pg_catalog.pg_class as referenced on referenced.oid = held.confrelid
left join pg_catalog.pg_type as domain on domain.oid = held.contypid
cross join lateral (
  select
    case
      when held.contypid <> 0 then 'domain ' || held.contypid::regtype
      else held.conrelid::regclass::text
    end as owner_object,
    case
      when held.contypid <> 0 then 'type ' || held.contypid::regtype
      else 'table ' || held.conrelid::regclass
    end as parent,
    case
      when held.contypid <> 0 then 'alter domain ' || held.contypid::regtype
      else 'alter table ' || held.conrelid::regclass
    end as alter,
    coalesce(class.relnamespace, domain.typnamespace)::regnamespace::text in ('app', 'api', 'ops')
      as is_ours,
    pg_catalog.regexp_replace(
      pg_catalog.pg_get_constraintdef(held.oid),
      '( DEFERRABLE| INITIALLY DEFERRED| NOT VALID| NOT ENFORCED)+$', ''
    ) as definition
) as shown
where held.contype in ('c', 'f', 'p', 'u', 'x')
  and (
    shown.is_ours
    or referenced.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  )
  -- A foreign key of a partitioned table has one more constraint for each partition.
  and held.conparentid = 0
