-- Triggers on our tables and views, with their state
select
  pg_catalog.format('trigger %I on %s', trigger.tgname, trigger.tgrelid::regclass) as object,
  case class.relkind when 'v' then 'view ' else 'table ' end || class.oid::regclass as parent,
  pg_catalog.jsonb_build_object(
    'definition', pg_catalog.regexp_replace(
      pg_catalog.pg_get_triggerdef(trigger.oid), '^(CREATE (CONSTRAINT )?TRIGGER )\S+ ', '\1'
    ),
    'state', case trigger.tgenabled
      when 'O' then 'enabled' when 'D' then 'disabled' when 'A' then 'enabled always'
      else 'enabled on replicas only'
    end
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'table', trigger.tgrelid::regclass::text,
    'trigger', pg_catalog.quote_ident(trigger.tgname),
    'name', trigger.tgname,
    'rename', pg_catalog.format(
      'alter trigger %s on %s rename to ',
      pg_catalog.quote_ident(trigger.tgname),
      trigger.tgrelid::regclass
    )
  ) as parts,
  array[pg_catalog.pg_get_triggerdef(trigger.oid)]
  || case trigger.tgenabled
    when 'O' then '{}'
    else array[
      pg_catalog.format(
        'alter table %s %s trigger %I', trigger.tgrelid::regclass,
        case trigger.tgenabled
          when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica'
        end,
        trigger.tgname
      )
    ]
  end as creation,
  array[
    pg_catalog.format('drop trigger %I on %s', trigger.tgname, trigger.tgrelid::regclass)
  ] as removal,
  trigger.oid as place
from pg_catalog.pg_trigger as trigger
inner join pg_catalog.pg_class as class on class.oid = trigger.tgrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and not trigger.tgisinternal
  and trigger.tgparentid = 0
