-- Event triggers of the database, except those of extensions
select
  pg_catalog.format('event trigger %I', event.evtname) as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    'owner', event.evtowner::regrole::text,
    'event', event.evtevent,
    'function', event.evtfoid::regproc::text,
    'tags', event.evttags,
    'state', case event.evtenabled
      when 'O' then 'enabled' when 'D' then 'disabled' when 'A' then 'enabled always'
      else 'enabled on replicas only'
    end
  ) as attributes,
  '{}'::jsonb as parts,
  null::text[] as creation,
  array[pg_catalog.format('drop event trigger %I', event.evtname)] as removal,
  event.oid as place
from pg_catalog.pg_event_trigger as event
where not exists (
  select
  from pg_catalog.pg_depend as depend
  where depend.classid = 'pg_catalog.pg_event_trigger'::regclass
    and depend.objid = event.oid
    and depend.deptype = 'e'
)
