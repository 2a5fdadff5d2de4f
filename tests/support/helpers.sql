-- Functions for the pgTAP tests, in the schema of pgTAP. Each test file is one transaction, which is
-- rolled back.

create or replace function tap.authenticate_as(profile text, role name default 'authenticated')
returns setof text
language plpgsql
volatile
security invoker
as $$
begin
  perform pg_catalog.set_config(
    'request.jwt.claims', pg_catalog.json_build_object('sub', profile, 'role', role)::text, true
  );
  perform pg_catalog.set_config('role', role, true);
end
$$;
comment on function tap.authenticate_as(text, name) is
'Until the end of the transaction, have the role and claims that PostgREST sets for a token of the profile.';

create or replace function tap.as_dba() returns setof text
language plpgsql
volatile
security invoker
as $$
begin
  perform pg_catalog.set_config('role', 'none', true);
  perform pg_catalog.set_config('request.jwt.claims', '', true);
end
$$;
comment on function tap.as_dba() is 'Have the rights of the superuser that the tests connect as, without a token.';

create or replace function tap.refusal(statement text) returns text
language plpgsql
volatile
security invoker
as $$
declare
  answer json;
  raised text;
begin
  execute statement;
  return 'not refused';
exception
  when sqlstate 'PGRST' then
    get stacked diagnostics raised = message_text, answer = pg_exception_detail;
    return pg_catalog.concat_ws(
      ' ', answer ->> 'status', raised::json ->> 'code', raised::json ->> 'message'
    );
end
$$;
comment on function tap.refusal(text) is
'Run a statement that is refused; return the status, code and message of the HTTP response.';
