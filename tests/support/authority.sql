-- The contents of sql/authority.json as tables in schema tap. The pgTAP tests compare the catalogue
-- with them.

create table tap.authority as
select pg_catalog.current_setting('sessionbase.authority')::jsonb as list;

create table tap.authority_grants as
select listed.grantee, listed.privilege, listed.object, listed.column_name, listed.optional
from tap.authority
cross join lateral pg_catalog.jsonb_to_recordset(authority.list -> 'grants') as listed (
  grantee text, privilege text, object text, column_name text, optional boolean
);

create table tap.authority_policies as
select
  listed.table_name,
  listed.policy_name,
  listed.command,
  listed.role,
  listed.restrictive,
  listed.optional
from tap.authority
cross join lateral pg_catalog.jsonb_to_recordset(authority.list -> 'policies') as listed (
  table_name text,
  policy_name text,
  command text,
  role text,
  restrictive boolean,
  optional boolean
);
