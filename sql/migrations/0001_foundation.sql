-- The schema of the tables, and a type that all domains use. The functions that tables, triggers and
-- policies name are in sql/app: the runner creates them before the migration that needs them.

-- Without this statement PUBLIC could execute every new function. It must be the global form: the
-- form with "in schema" can only add to what the global default grants.
alter default privileges revoke execute on functions from public;

create schema app;
comment on schema app is
'The data of sessionbase: tables, constraints, policies, triggers. Not exposed over HTTP.';
grant usage on schema app to anon, authenticated, auditor, sessionbase_replicator;

-- A type and not a table, so that `get stacked diagnostics` can write into its fields.
create type app.violation as (table_name text, constraint_name text, column_name text);
comment on type app.violation is
'The constraint or the column that a rejected row violates, as PostgreSQL''s diagnostics name it.';
