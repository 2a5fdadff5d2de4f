-- The database itself: encoding, collation, owner
select
  'this database' as object,
  null as parent,
  pg_catalog.jsonb_build_object(
    -- Each installation has its own owner; one of our roles, except sessionbase_owner, is none.
    'owner', case
      when database.datdba::regrole::text = any(ours.names)
        and database.datdba::regrole::text <> 'sessionbase_owner'
        then database.datdba::regrole::text
      else 'a role of the installation'
    end,
    'encoding', pg_catalog.pg_encoding_to_char(database.encoding),
    'collation', pg_catalog.concat_ws(
      ', ',
      database.datcollate,
      database.datctype,
      -- Their names changed in 17.
      coalesce(
        pg_catalog.to_jsonb(database) ->> 'datlocale',
        pg_catalog.to_jsonb(database) ->> 'daticulocale'
      )
    ),
    'connection limit', database.datconnlimit,
    'is a template', database.datistemplate,
    'allows connections', database.datallowconn
  ) as attributes,
  '{}'::jsonb as parts,
  null::text[] as creation,
  null::text[] as removal,
  database.oid as place
from pg_catalog.pg_database as database
cross join (
  select pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',') as names
) as ours
where database.datname = pg_catalog.current_database()
