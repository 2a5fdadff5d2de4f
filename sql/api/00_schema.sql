-- Who may enter the schema, and what OpenAPI says of it as a whole.

grant usage on schema api to anon, authenticated, auditor;

comment on schema api is
'sessionbase
The records of an AI-session viewer: tool events, decisions, misalignments, todos, repo bindings and
UI settings. Send a JWT whose claims are "role" and "sub" (the profile) as "Authorization: Bearer".';

-- One function for the rows of all views: PostgREST 12 asks the row of a CTE for the column, whose
-- type is record, and with a function a view PostgreSQL could not choose between them.
create or replace function api.txid(record) returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  -- A repeat has a transaction too, if only for its locks, but no stream will ever name it.
  if pg_catalog.current_setting('sessionbase.unchanged', true) = 'true' then
    return null;
  end if;
  return pg_catalog.pg_current_xact_id_if_assigned()::xid::text;
end
$$;
comment on function api.txid(record) is
'The transaction of the request, as a replication stream names it; null where nothing was written
A computed column of every row that a write returns: ask for it with ?select=*,txid. A repeat that
found all as it should be has written nothing: then there is no transaction to wait for.';
grant execute on function api.txid(record) to authenticated;
