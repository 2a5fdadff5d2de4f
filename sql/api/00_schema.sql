-- The grants on the schema, its description in OpenAPI, and what all domains share.

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
  -- A repeated call can have a transaction id for its locks, but no stream ever contains it.
  if pg_catalog.current_setting('sessionbase.unchanged', true) = 'true' then
    return null;
  end if;
  return pg_catalog.pg_current_xact_id_if_assigned()::xid::text;
end
$$;
comment on function api.txid(record) is
'The transaction of the request, as a replication stream names it; null where nothing was written
A computed column of every row that a write returns: ask for it with ?select=*,txid. A repeated call
that changed nothing has no transaction to wait for.';
grant execute on function api.txid(record) to authenticated;
