-- Settings of our roles and of this database (alter role … set, alter database … set)
select
  pg_catalog.concat(
    'setting ', shown.name,
    case
      when stored.setrole <> 0 then ' of role ' || pg_catalog.quote_ident(role.rolname)
      when stored.setdatabase = 0 then ' of all roles'
    end,
    case
      when stored.setdatabase <> 0 and stored.setrole <> 0 then ' in this database'
      when stored.setdatabase <> 0 then ' of this database'
    end
  ) as object,
  'role ' || pg_catalog.quote_ident(role.rolname) as parent,
  pg_catalog.jsonb_build_object('value', shown.value) as attributes,
  pg_catalog.jsonb_build_object('target', shown.target, 'setting', shown.name) as parts,
  null::text[] as creation,
  array[
    pg_catalog.concat(
      shown.target, ' reset ',
      (
        select pg_catalog.string_agg(pg_catalog.quote_ident(part.text), '.' order by part.number)
        from pg_catalog.unnest(
          pg_catalog.string_to_array(shown.name, '.')
        ) with ordinality as part (text, number)
      )
    )
  ] as removal,
  coalesce(role.oid, 0) as place
from pg_catalog.pg_db_role_setting as stored
left join pg_catalog.pg_roles as role on role.oid = stored.setrole
cross join lateral pg_catalog.unnest(stored.setconfig) as setting (text)
cross join lateral (
  select
    pg_catalog.split_part(setting.text, '=', 1) as name,
    pg_catalog.substr(setting.text, pg_catalog.strpos(setting.text, '=') + 1) as value,
    case
      when stored.setrole = 0 and stored.setdatabase = 0 then 'alter role all'
      when stored.setrole = 0 then 'alter database <database>'
      when stored.setdatabase = 0 then pg_catalog.format('alter role %I', role.rolname)
      else pg_catalog.format('alter role %I in database <database>', role.rolname)
    end as target
) as shown
where (
    stored.setdatabase = 0
    or stored.setdatabase = (
      select database.oid from pg_catalog.pg_database as database
      where database.datname = pg_catalog.current_database()
    )
  )
  and (
    stored.setrole = 0
    or role.rolname = any(
      pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
    )
  )
