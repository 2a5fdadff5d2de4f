-- The grants on the schema, its description in OpenAPI, and objects that all domains use.

grant usage on schema api to anon, authenticated, auditor;

comment on schema api is
'sessionbase
The records of an AI-session viewer, each of one profile. Send a JWT whose claims are "role" and
"sub" (the profile) as "Authorization: Bearer".';

-- One function for the rows of all views: PostgREST 12 selects the column from a CTE, whose row type
-- is record. With one function per view PostgreSQL could not resolve the call.
create or replace function api.txid(record) returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  -- A repeated call can have a transaction id because of its locks, but no stream contains it.
  if pg_catalog.current_setting('sessionbase.unchanged', true) = 'true' then
    return null;
  end if;
  return pg_catalog.pg_current_xact_id_if_assigned()::xid::text;
end
$$;
comment on function api.txid(record) is
'The transaction id of the request, as in the replication stream; null if nothing was written
A computed column of the rows that a write returns: select it with ?select=*,txid. After a repeated
call that changed nothing there is no transaction to wait for.';
grant execute on function api.txid(record) to authenticated;
