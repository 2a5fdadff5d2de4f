-- Who may enter the schema, and what OpenAPI says of it as a whole.

grant usage on schema api to anon, authenticated, auditor;

comment on schema api is
'sessionkeep
The records of an AI-session viewer: tool events, decisions, misalignments, todos, repo bindings and
UI settings. Send a JWT whose claims are "role" and "sub" (the profile) as "Authorization: Bearer".';
