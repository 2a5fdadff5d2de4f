-- PostgREST gives the planner's estimate of a list to whoever asks for it (Prefer: count=planned), and
-- estimates are made from statistics of all profiles' rows: without this, a caller could learn which
-- values are common among others. The planner needs none of them, because every query is led by the
-- profile and served by an index. Only how many rows a profile has on average is left.

do $$
declare
  field record;
begin
  for field in
    select attribute.attrelid::regclass as table_name, attribute.attname
    from pg_catalog.pg_attribute as attribute
    inner join pg_catalog.pg_class as class on class.oid = attribute.attrelid
    where class.relnamespace = 'app'::regnamespace
      and class.relkind = 'r'
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attname <> 'profile_id'
  loop
    execute pg_catalog.format(
      'alter table %s alter column %I set statistics 0', field.table_name, field.attname
    );
  end loop;
end
$$;
