-- Inheritance and partitions: children of our tables in any schema, and parents of our tables
select
  pg_catalog.format(
    'inheritance of %s by %s', link.inhparent::regclass, link.inhrelid::regclass
  ) as object,
  case
    when parent_namespace.nspname in ('app', 'api', 'ops') then 'table ' || link.inhparent::regclass
    else 'table ' || link.inhrelid::regclass
  end as parent,
  pg_catalog.jsonb_build_object(
    'partition', pg_catalog.pg_get_expr(child.relpartbound, child.oid)
  ) as attributes,
  '{}'::jsonb as parts,
  array[
    case
      when child.relispartition then pg_catalog.format(
        'alter table %s attach partition %s %s', link.inhparent::regclass, link.inhrelid::regclass,
        pg_catalog.pg_get_expr(child.relpartbound, child.oid)
      )
      else pg_catalog.format(
        'alter table %s inherit %s', link.inhrelid::regclass, link.inhparent::regclass
      )
    end
  ] as creation,
  array[
    case
      when child.relispartition then pg_catalog.format(
        'alter table %s detach partition %s', link.inhparent::regclass, link.inhrelid::regclass
      )
      else pg_catalog.format(
        'alter table %s no inherit %s', link.inhrelid::regclass, link.inhparent::regclass
      )
    end
  ] as removal,
  child.oid as place
from pg_catalog.pg_inherits as link
inner join pg_catalog.pg_class as child on child.oid = link.inhrelid
inner join pg_catalog.pg_class as parent on parent.oid = link.inhparent
inner join pg_catalog.pg_namespace as parent_namespace
  on parent_namespace.oid = parent.relnamespace
inner join pg_catalog.pg_namespace as child_namespace on child_namespace.oid = child.relnamespace
where child.relkind in ('r', 'p', 'f')
  and (
    parent_namespace.nspname in ('app', 'api', 'ops')
    or child_namespace.nspname in ('app', 'api', 'ops')
  )
