"""Changes that somebody makes to a database by hand, and how `migrate drift` reports each."""

from dataclasses import dataclass

AS_OWNER = "set local role sessionbase_owner;"


@dataclass(frozen=True)
class Case:
    """One change of a correct database."""

    title: str
    """In words, for the table of docs/drift.md."""
    change: str
    object: str
    """The object of the difference that must be found."""
    what: str
    """A part of the difference in words."""
    level: str = "drift"
    undone: bool = True
    """Whether the printed statements bring the database back to no drift."""
    doctor: bool = False
    """Whether `sessionbase doctor` has a finding after the change too."""
    needs_database: bool = False
    """The change or its undoing can't run in a transaction: it gets a database of its own."""
    oldest: int = 15
    """The oldest major version of PostgreSQL that accepts the change."""
    contrib: bool = False


CASES = [
    # Tables
    Case(
        "a table is created",
        AS_OWNER + "create table app.made_by_hand (id int primary key)",
        "table app.made_by_hand",
        "no file creates it",
        undone=False,
        doctor=True,
    ),
    Case(
        "a table is dropped",
        "drop table app.cleared_session_repo_bindings",
        "table app.cleared_session_repo_bindings",
        "is missing",
        needs_database=True,
    ),
    Case(
        "a table is renamed",
        "alter table app.cleared_session_repo_bindings rename to old_bindings",
        "table app.old_bindings",
        "expected: table app.cleared_session_repo_bindings",
        doctor=True,
    ),
    Case(
        "a table is set to unlogged",
        "alter table app.ui_settings set unlogged",
        "table app.ui_settings",
        "persistence is unlogged",
    ),
    Case(
        "a storage parameter of a table is changed",
        "alter table app.todos set (autovacuum_enabled = off, fillfactor = 50)",
        "table app.todos",
        "storage parameters is",
    ),
    Case(
        "the replica identity of an unpublished table is changed",
        "alter table app.todos replica identity full",
        "table app.todos",
        "replica identity is full",
        doctor=True,
    ),
    Case(
        "a table is marked as clustered on an index",
        "alter table app.todos cluster on todos_by_time",
        "table app.todos",
        "clustered on is todos_by_time",
    ),
    Case(
        "row-level security is disabled",
        "alter table app.todos disable row level security",
        "table app.todos",
        "row-level security is off",
        doctor=True,
    ),
    Case(
        "row-level security is forced",
        "alter table app.todos force row level security",
        "table app.todos",
        "forced row-level security is on",
    ),
    Case(
        "another table inherits from a table",
        "create schema other; create table other.child () inherits (app.todos)",
        "inheritance of app.todos by other.child",
        "no file creates it",
    ),
    Case(
        "the owner of a table is changed",
        "alter table app.todos owner to authenticated",
        "table app.todos",
        "owner is authenticated",
        doctor=True,
    ),
    # Columns
    Case(
        "a column is added",
        "alter table app.todos add column note text default 'x'",
        "column app.todos.note",
        "no file creates it",
        undone=False,
    ),
    Case(
        "a column is dropped",
        "alter table ops.migrations drop column duration_ms",
        "column ops.migrations.duration_ms",
        "is missing",
        undone=False,
    ),
    Case(
        "a column is renamed",
        "alter table app.todos rename column completed to is_done",
        "column app.todos.is_done",
        "expected: column app.todos.completed",
        doctor=True,
    ),
    Case(
        "the type of a column is changed",
        "alter table ops.migrations alter column name type varchar(200)",
        "column ops.migrations.name",
        "type is character varying(200), expected: text",
    ),
    Case(
        "the collation of a column is changed",
        'alter table ops.migrations alter column name type text collate "C"',
        "column ops.migrations.name",
        'collation is "C"',
    ),
    Case(
        "the default of a column is changed",
        "alter table app.todos alter column completed set default true",
        "column app.todos.completed",
        "default is true, expected: false",
    ),
    Case(
        "the default of a column is dropped",
        "alter table app.todos alter column created_at drop default",
        "column app.todos.created_at",
        "default is none",
    ),
    Case(
        "NOT NULL of a column is dropped",
        "alter table app.todos alter column text drop not null",
        "column app.todos.text",
        "not null is off",
    ),
    Case(
        "NOT NULL of a column is not validated",
        "alter table app.todos alter column text drop not null; "
        "alter table app.todos add constraint text_filled not null text not valid",
        "column app.todos.text",
        "not null is not valid, expected: on",
        doctor=True,
        oldest=18,
    ),
    Case(
        "NOT NULL is added to a column",
        "alter table app.tool_events alter column thread_id set not null",
        "column app.tool_events.thread_id",
        "not null is on",
    ),
    Case(
        "the identity of a column is changed",
        "alter table ops.ledger_changes alter column id set generated by default",
        "column ops.ledger_changes.id",
        "identity is by default, expected: always",
    ),
    Case(
        "a generated column is added",
        "alter table app.todos add column size int generated always as (octet_length(text)) stored",
        "column app.todos.size",
        "generated stored",
        undone=False,
    ),
    Case(
        "the statistics target of a column is changed",
        "alter table app.todos alter column text set statistics 5",
        "column app.todos.text",
        "statistics target is 5",
    ),
    Case(
        "the storage of a column is changed",
        "alter table app.todos alter column text set storage external",
        "column app.todos.text",
        "storage is external",
    ),
    Case(
        "the compression of a column is changed",
        "alter table app.todos alter column text set compression pglz",
        "column app.todos.text",
        "compression is pglz",
    ),
    Case(
        "an option of a column is set",
        "alter table app.todos alter column text set (n_distinct = 100)",
        "column app.todos.text",
        "options is n_distinct=100",
    ),
    # Constraints and indexes
    Case(
        "a constraint is dropped",
        "alter table app.todos drop constraint text_size",
        "constraint text_size on app.todos",
        "is missing",
    ),
    Case(
        "a constraint is added",
        "alter table app.todos add constraint no_x check (text <> 'x')",
        "constraint no_x on app.todos",
        "no file creates it",
    ),
    Case(
        "a constraint is replaced by another of the same name",
        "alter table app.todos drop constraint text_size,"
        " add constraint text_size check (octet_length(text) < 9)",
        "constraint text_size on app.todos",
        "definition differs",
    ),
    Case(
        "a constraint is replaced by one that is NOT VALID",
        "alter table app.todos drop constraint profile_id_length; alter table app.todos add"
        " constraint profile_id_length check (octet_length(profile_id) between 1 and 200)"
        " not valid",
        "constraint profile_id_length on app.todos",
        "validated is off",
        doctor=True,
    ),
    Case(
        "a constraint is renamed",
        "alter table app.todos rename constraint text_size to size_of_text",
        "constraint size_of_text on app.todos",
        "expected: constraint text_size",
    ),
    Case(
        "a foreign key is made deferrable",
        "alter table app.tool_event_transitions alter constraint tool_event_exists"
        " deferrable initially deferred",
        "constraint tool_event_exists on app.tool_event_transitions",
        "deferrable is deferrable initially deferred",
    ),
    Case(
        "a foreign key is not enforced",
        "alter table app.tool_event_transitions alter constraint tool_event_exists not enforced",
        "constraint tool_event_exists on app.tool_event_transitions",
        "enforced is off",
        oldest=18,
        doctor=True,
    ),
    Case(
        "a foreign key of another schema refers to a table",
        "create schema other; create table other.child (profile_id text, id uuid,"
        " foreign key (profile_id, id) references app.todos on delete cascade)",
        "constraint child_profile_id_id_fkey on other.child",
        "no file creates it",
    ),
    Case(
        "the primary key is replaced by a shorter one",
        "alter table app.profile_log drop constraint profile_log_pkey,"
        " add constraint profile_log_pkey primary key (number, profile_id)",
        "constraint profile_log_pkey on app.profile_log",
        "definition is PRIMARY KEY (number, profile_id)",
        doctor=True,
    ),
    Case(
        "an index is dropped",
        "drop index app.todos_by_time",
        "index app.todos_by_time",
        "is missing",
        needs_database=True,
    ),
    Case(
        "an index is created",
        "create index todos_by_text on app.todos (text)",
        "index app.todos_by_text",
        "no file creates it",
        needs_database=True,
    ),
    Case(
        "an index is replaced by another of the same name",
        "drop index app.todos_by_time; create index todos_by_time on app.todos (created_at)",
        "index app.todos_by_time",
        "definition is",
        needs_database=True,
    ),
    Case(
        "an index is invalid, as after a failed CREATE INDEX CONCURRENTLY",
        "update pg_catalog.pg_index set indisvalid = false"
        " where indexrelid = 'app.todos_by_time'::regclass",
        "index app.todos_by_time",
        "valid is off",
        needs_database=True,
        doctor=True,
    ),
    Case(
        "the primary key is not the newest index any more",
        "drop index app.todos_by_time; create index todos_by_time on app.todos"
        " (profile_id, created_at, id)",
        "table app.todos",
        "newest index is app.todos_by_time, expected: app.todos_pkey",
        needs_database=True,
    ),
    Case(
        "an index is renamed",
        "alter index app.todos_by_time rename to old_index",
        "index app.old_index",
        "expected: index app.todos_by_time",
    ),
    # Triggers and rules
    Case(
        "a trigger is disabled",
        "alter table app.todos disable trigger refuse_bulk_change",
        "trigger refuse_bulk_change on app.todos",
        "state is disabled",
        doctor=True,
    ),
    Case(
        "a trigger runs on replicas too",
        "alter table app.todos enable always trigger refuse_bulk_change",
        "trigger refuse_bulk_change on app.todos",
        "state is enabled always",
    ),
    Case(
        "a trigger is dropped",
        "drop trigger require_columns on app.todos",
        "trigger require_columns on app.todos",
        "is missing",
        doctor=True,
    ),
    Case(
        "a trigger is created",
        "create schema other; create function other.f() returns trigger language plpgsql as"
        " 'begin return new; end'; create trigger spy before insert on app.todos for each row"
        " execute function other.f()",
        "trigger spy on app.todos",
        "no file creates it",
    ),
    Case(
        "a trigger is replaced by another of the same name",
        "create or replace trigger revise after update on app.ui_settings for each row"
        " execute function app.revise_ui_settings()",
        "trigger revise on app.ui_settings",
        "definition differs",
    ),
    Case(
        "the internal triggers of a foreign key are disabled",
        "alter table app.tool_event_transitions disable trigger all;"
        " alter table app.tool_event_transitions enable trigger user",
        "constraint tool_event_exists on app.tool_event_transitions",
        "internal triggers differs",
        doctor=True,
    ),
    Case(
        "an event trigger is created",
        "create schema other; create function other.e() returns event_trigger language plpgsql as"
        " 'begin end'; create event trigger watch on ddl_command_end execute function other.e()",
        "event trigger watch",
        "no file creates it",
    ),
    Case(
        "a rule is created",
        "create rule no_delete as on delete to app.todos do instead nothing",
        "rule no_delete on app.todos",
        "no file creates it",
    ),
    # Policies
    Case(
        "a policy is dropped",
        "drop policy select_own on app.todos",
        "policy select_own on app.todos",
        "is missing",
        doctor=True,
    ),
    Case(
        "a policy is created",
        "create policy open_door on app.todos for select to authenticated using (true)",
        "policy open_door on app.todos",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "the condition of a policy is changed",
        "alter policy select_own on app.todos using (true)",
        "policy select_own on app.todos",
        "using is true",
        doctor=True,
    ),
    Case(
        "the check of a policy is changed",
        "alter policy insert_own on app.todos with check (true)",
        "policy insert_own on app.todos",
        "with check is true",
        doctor=True,
    ),
    Case(
        "the roles of a policy are changed",
        "alter policy select_own on app.todos to public",
        "policy select_own on app.todos",
        "roles is public",
        doctor=True,
    ),
    Case(
        "a restrictive policy is made permissive",
        "drop policy no_estimates on app.todos; create policy no_estimates on app.todos for select"
        " to authenticated using (app.refuse_explain())",
        "policy no_estimates on app.todos",
        "kind is permissive, expected: restrictive",
        doctor=True,
    ),
    Case(
        "the command of a policy is changed",
        "drop policy select_own on app.todos; create policy select_own on app.todos to"
        " authenticated using (profile_id = (select app.profile_id()))",
        "policy select_own on app.todos",
        "command is all, expected: select",
        doctor=True,
    ),
    # Functions
    Case(
        "the body of a function is changed",
        "create or replace function api.toggle_todo(id uuid default null) returns api.todos"
        " language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan"
        " as 'begin return null; end'",
        "function api.toggle_todo(uuid)",
        "body differs",
        doctor=True,
    ),
    Case(
        "a function is created",
        "create function app.extra() returns int language sql as 'select 1'",
        "function app.extra()",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a function is dropped",
        "drop function api.delete_todo(uuid)",
        "function api.delete_todo(uuid)",
        "is missing",
        doctor=True,
    ),
    Case(
        "a function is made SECURITY DEFINER",
        "alter function api.toggle_todo(uuid) security definer",
        "function api.toggle_todo(uuid)",
        "security is definer",
        doctor=True,
    ),
    Case(
        "the volatility of a function is changed",
        "alter function app.profile_id() volatile",
        "function app.profile_id()",
        "volatility is volatile",
        doctor=True,
    ),
    Case(
        "the search_path of a function is changed",
        "alter function app.profile_id() set search_path = public",
        "function app.profile_id()",
        "settings is search_path=public",
        doctor=True,
    ),
    Case(
        "a function is STRICT",
        "alter function app.require_argument(text, boolean) strict",
        "function app.require_argument(text,boolean)",
        "strict is on",
        doctor=True,
    ),
    Case(
        "a function is LEAKPROOF",
        "alter function app.json_typeof(json) leakproof",
        "function app.json_typeof(json)",
        "leakproof is on",
        doctor=True,
    ),
    Case(
        "a function is PARALLEL RESTRICTED",
        "alter function app.profile_id() parallel restricted",
        "function app.profile_id()",
        "parallel is restricted",
        doctor=True,
    ),
    Case(
        "the cost of a function is changed",
        "alter function app.profile_id() cost 5000",
        "function app.profile_id()",
        "cost is 5000",
    ),
    Case(
        "the estimated rows of a function are changed",
        "alter function api.ingest_misalignments(text, jsonb) rows 5",
        "function api.ingest_misalignments(text,jsonb)",
        "rows is 5",
    ),
    Case(
        "the names of the parameters of a function are changed",
        "drop function api.delete_todo(uuid); create function api.delete_todo(todo uuid"
        " default null) returns api.todos language sql as 'select null::api.todos'",
        "function api.delete_todo(uuid)",
        "arguments is todo uuid",
        doctor=True,
    ),
    Case(
        "the result of a function is changed",
        "drop function api.delete_todo(uuid); create function api.delete_todo(id uuid"
        " default null) returns int language sql as 'select 1'",
        "function api.delete_todo(uuid)",
        "result is integer",
        doctor=True,
    ),
    Case(
        "the owner of a function is changed",
        "alter function app.profile_id() owner to postgres",
        "function app.profile_id()",
        "owner is postgres",
        doctor=True,
    ),
    # Views
    Case(
        "the definition of a view is changed",
        "create or replace view api.todos with (security_invoker = true) as"
        " select id, text, completed, created_at from app.todos where completed",
        "view api.todos",
        "definition differs",
    ),
    Case(
        "a column is added to a view",
        "create or replace view api.todos with (security_invoker = true) as"
        " select id, text, completed, created_at, profile_id from app.todos as todo",
        "view api.todos",
        "definition differs",
        undone=False,
        doctor=True,
    ),
    Case(
        "security_invoker of a view is reset",
        "alter view api.todos reset (security_invoker)",
        "view api.todos",
        "options is none",
        doctor=True,
    ),
    Case(
        "a view gets security_barrier and check_option",
        "alter view api.todos set (security_barrier = true, check_option = local)",
        "view api.todos",
        "security_barrier=true",
    ),
    Case(
        "a view is dropped with its functions",
        "drop view api.todos cascade",
        "view api.todos",
        "is missing",
        doctor=True,
    ),
    Case(
        "a view is created",
        AS_OWNER + "create view api.all_todos as select * from app.todos",
        "view api.all_todos",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a column of a view gets a default",
        "alter view api.todos alter column completed set default true",
        "default of column api.todos.completed",
        "no file creates it",
    ),
    Case(
        "a materialized view is created",
        AS_OWNER + "create materialized view app.copy as select * from app.todos",
        "materialized view app.copy",
        "no file creates it",
        doctor=True,
    ),
    # Sequences, types, statistics and other objects
    Case(
        "a sequence is changed",
        "alter sequence ops.ledger_changes_id_seq increment 2 cache 50 maxvalue 1000 cycle",
        "sequence ops.ledger_changes_id_seq",
        "increment is 2",
    ),
    Case(
        "a sequence is created",
        AS_OWNER + "create sequence app.extra_seq",
        "sequence app.extra_seq",
        "no file creates it",
        undone=False,
    ),
    Case(
        "an enum is created",
        AS_OWNER + "create type app.color as enum ('red')",
        "type app.color",
        "no file creates it",
    ),
    Case(
        "a domain is created",
        AS_OWNER + "create domain app.short as text check (length(value) < 9)",
        "type app.short",
        "no file creates it",
    ),
    Case(
        "a field is added to a composite type",
        "alter type app.violation add attribute extra text",
        "column app.violation.extra",
        "no file creates it",
    ),
    Case(
        "extended statistics are created",
        "create statistics app.more on profile_id, completed from app.todos",
        "statistics app.more",
        "no file creates it",
    ),
    Case(
        "an operator is created",
        "create operator app.=== (leftarg = text, rightarg = text, function = pg_catalog.texteq)",
        "operator app.===(text,text)",
        "no file creates it",
    ),
    Case(
        "a collation is created",
        """create collation app.plain from "C\"""",
        "collation app.plain",
        "no file creates it",
    ),
    Case(
        "a cast of a type is created",
        "create cast (app.todos as text) with inout",
        "cast (app.todos AS text)",
        "no file creates it",
    ),
    Case(
        "one of the roles owns a function in another schema",
        "create schema other; create function other.door() returns bigint language sql security"
        " definer as 'select count(*) from app.todos';"
        " alter function other.door() owner to sessionbase_owner",
        "function other.door()",
        "no file creates it",
    ),
    # Grants and default privileges
    Case(
        "a right on a table is granted",
        "grant select on app.todos to anon",
        "grant of select on table app.todos to anon",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a right on a table is granted to a role of another application",
        "create role reporting; grant select on app.todos to reporting",
        "grant of select on table app.todos to reporting",
        "no file creates it",
    ),
    Case(
        "a right on a table is revoked",
        "revoke select on app.todos from authenticated",
        "grant of select on table app.todos to authenticated",
        "is missing",
        doctor=True,
    ),
    Case(
        "a right on a column is granted",
        "grant update (profile_id) on app.todos to authenticated",
        "grant of update (profile_id) on table app.todos to authenticated",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a right on a column is revoked",
        "revoke insert (text) on api.todos from authenticated",
        "grant of insert (text) on table api.todos to authenticated",
        "is missing",
        doctor=True,
    ),
    Case(
        "a grant option is given",
        "grant select on api.todos to authenticated with grant option",
        "grant of select on view api.todos to authenticated",
        "grant option is on",
        doctor=True,
    ),
    Case(
        "a right on a function is granted to public",
        "grant execute on function app.lock_profile(text, boolean) to public",
        "grant of execute on function app.lock_profile(text,boolean) to public",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a right of the owner is revoked",
        "revoke insert on app.todos from sessionbase_owner",
        "grant of insert on table app.todos to its owner",
        "is missing",
    ),
    Case(
        "a right on a schema is granted",
        "grant create on schema app to authenticated",
        "grant of create on schema app to authenticated",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a right on the database is granted",
        "do $$ begin execute format('grant create on database %I to anon',"
        " current_database()); end $$",
        "grant of create on this database to anon",
        "no file creates it",
    ),
    Case(
        "the right of sessionbase_owner on the database is revoked",
        "do $$ begin execute format('revoke create on database %I from sessionbase_owner',"
        " current_database()); end $$",
        "grant of create on this database to sessionbase_owner",
        "is missing",
    ),
    Case(
        "a right to set a parameter is granted",
        "grant set on parameter log_min_messages to authenticated",
        "grant of set on parameter log_min_messages to authenticated",
        "no file creates it",
    ),
    Case(
        "default privileges are granted in a schema",
        "alter default privileges for role sessionbase_owner in schema app"
        " grant select on tables to anon",
        "default privilege select on new tables in schema app of sessionbase_owner to anon",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "default privileges are reset",
        "alter default privileges for role sessionbase_owner grant execute on functions to public",
        "default privilege execute on new functions of sessionbase_owner to public",
        "no file creates it",
        doctor=True,
    ),
    # Comments, publications and replication
    Case(
        "a comment is changed",
        "comment on column app.todos.text is 'Something else'",
        "comment on column app.todos.text",
        "Something else",
    ),
    Case(
        "a comment on a constraint is removed",
        "comment on constraint text_size on app.todos is null",
        "comment on constraint text_size on app.todos",
        "is missing",
    ),
    Case(
        "a publication with a table is created",
        "create publication other for table app.todos",
        "publication other",
        "no file creates it",
    ),
    Case(
        "the publication sessionbase is dropped",
        "drop publication sessionbase",
        "publication sessionbase",
        "is missing",
    ),
    Case(
        "what a publication publishes is changed",
        "alter publication sessionbase set (publish = 'insert')",
        "publication sessionbase",
        "publish is insert",
    ),
    Case(
        "a table is published with a row filter and some columns",
        "alter publication sessionbase add table app.todos (profile_id, id, text)"
        " where (completed)",
        "table app.todos in publication sessionbase",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a table that clients must not replicate is published",
        "alter publication sessionbase add table app.hookify_decisions",
        "table app.hookify_decisions in publication sessionbase",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a subscription is created",
        "create subscription other connection 'dbname=nowhere' publication p"
        " with (connect = false, slot_name = none, enabled = false)",
        "subscription other",
        "no file creates it",
        undone=False,
    ),
    # Roles, settings, extensions, the database
    Case(
        "a role is made superuser",
        "alter role authenticated superuser",
        "role authenticated",
        "superuser is on",
        doctor=True,
    ),
    Case(
        "a role gets BYPASSRLS",
        "alter role authenticated bypassrls",
        "role authenticated",
        "bypassrls is on",
        doctor=True,
    ),
    Case(
        "a client role may log in",
        "alter role authenticated login",
        "role authenticated",
        "login is on",
        doctor=True,
    ),
    Case(
        "a role inherits rights",
        "alter role sessionbase_owner inherit",
        "role sessionbase_owner",
        "inherit is on",
    ),
    Case(
        "a role gets CREATEROLE and CREATEDB",
        "alter role anon createrole createdb",
        "role anon",
        "createdb is on",
        doctor=True,
    ),
    Case(
        "a role becomes a member of another",
        "grant pg_read_all_data to authenticated",
        "membership of authenticated in pg_read_all_data",
        "no file creates it",
        doctor=True,
    ),
    Case(
        "a membership is revoked",
        "revoke auditor from authenticator",
        "membership of authenticator in auditor",
        "is missing",
    ),
    Case(
        "a membership gets the admin option",
        "grant auditor to authenticator with admin option",
        "membership of authenticator in auditor",
        "admin option is on",
    ),
    Case(
        "a membership is inherited",
        "grant authenticated to authenticator with inherit true",
        "membership of authenticator in authenticated",
        "inherit option is on",
        oldest=16,
        doctor=True,
    ),
    Case(
        "a setting of a role is removed",
        "alter role authenticated reset statement_timeout",
        "setting statement_timeout of role authenticated",
        "is missing",
        doctor=True,
    ),
    Case(
        "a setting of a role is added",
        "alter role authenticated set search_path = public, other",
        "setting search_path of role authenticated",
        "value public, other",
    ),
    Case(
        "a setting of a role in the database is added",
        "do $$ begin execute format('alter role authenticated in database %I set row_security ="
        " off', current_database()); end $$",
        "setting row_security of role authenticated in this database",
        "value off",
    ),
    Case(
        "a setting of the database is added",
        "do $$ begin execute format('alter database %I set search_path = public',"
        " current_database()); end $$",
        "setting search_path of this database",
        "value public",
    ),
    Case(
        "a setting of all roles is added",
        "alter role all set statement_timeout = '1s'",
        "setting statement_timeout of all roles",
        "value 1s",
    ),
    Case(
        "an extension is installed in one of the schemas",
        "create extension citext schema app",
        "extension citext",
        "no file creates it",
        undone=False,
        contrib=True,
        doctor=True,
    ),
    Case(
        "a client role owns the database",
        "do $$ begin execute format('alter database %I owner to authenticated',"
        " current_database()); end $$",
        "this database",
        "owner is authenticated",
        undone=False,
        doctor=True,
    ),
    Case(
        "the owner of a schema is changed",
        "alter schema api owner to postgres",
        "schema api",
        "owner is postgres",
        doctor=True,
    ),
    # Notes
    Case(
        "a DBA changes a setting that roles.sql makes",
        "alter role authenticated set statement_timeout = '5s'",
        "setting statement_timeout of role authenticated",
        "value is 5s",
        level="note",
    ),
    Case(
        "a DBA limits the connections of the login",
        "alter role authenticator connection limit 50",
        "role authenticator",
        "connection limit is 50",
        level="note",
    ),
    Case(
        "a second login becomes a member of a client role",
        "create role authenticator_b login noinherit; grant anon to authenticator_b",
        "membership of authenticator_b in anon",
        "no file creates it",
        level="note",
    ),
    Case(
        "`sessionbase replication enable` publishes a table",
        "alter table app.todos replica identity full; alter publication sessionbase add table"
        " app.todos; grant select on app.todos to sessionbase_replicator;"
        " alter role sessionbase_replicator replication",
        "table app.todos in publication sessionbase",
        "no file creates it",
        level="note",
        doctor=True,
    ),
    Case(
        "an extension is installed in another schema",
        "create schema other; create extension citext schema other",
        "extension citext",
        "no file creates it",
        level="note",
        contrib=True,
    ),
]
