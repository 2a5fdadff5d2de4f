-- The cluster's roles. Idempotent: a second run changes nothing.
-- Only this file needs a login that may create roles; every other file runs as sessionbase_owner.
-- The client roles have the names that PostgREST and Supabase use.

do $$
declare
  wanted record;
begin
  for wanted in
    select *
    from (values
      ('sessionbase_owner', 'nologin noinherit',
        'Owns the objects of sessionbase; nobody logs in as it'),
      ('sessionbase_replicator', 'nologin noinherit',
        'Reads the published tables for a replication client such as Electric'),
      ('anon', 'nologin noinherit',
        'A request without a token: a guest, who may do nothing with data'),
      ('authenticated', 'nologin noinherit',
        'A request with a token: sees and changes the rows of its own profile'),
      ('auditor', 'nologin noinherit',
        'Reads decisions and transition logs of every profile, writes nothing'),
      ('authenticator', 'login noinherit',
        'PostgREST logs in as it and becomes one of the client roles for each request')
    ) as roles (name, attributes, purpose)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      begin
        execute pg_catalog.format('create role %I %s', wanted.name, wanted.attributes);
        execute pg_catalog.format('comment on role %I is %L', wanted.name, wanted.purpose);
        -- These settings are set only at creation, so that changes by a DBA are not overwritten.
        -- A client can neither use a connection of the pool for long nor leave it in a
        -- transaction.
        if wanted.name in ('anon', 'authenticated', 'auditor') then
          execute pg_catalog.format('alter role %I set statement_timeout = %L', wanted.name, '15s');
        end if;
        -- Every query of a client has its profile as a condition and can use an index for it. The
        -- planner does not know the profile's value when it plans, so it assumes a profile of
        -- average size. Beside a profile of 2 million rows it then chose a parallel sequential
        -- scan of the whole table for a profile of 10 rows.
        if wanted.name = 'authenticated' then
          alter role authenticated set enable_seqscan = off;
          alter role authenticated set max_parallel_workers_per_gather = 0;
        end if;
        if wanted.name = 'authenticator' then
          alter role authenticator set idle_in_transaction_session_timeout = '30s';
        end if;
      exception
        -- Another database of this cluster was set up at the same time and created the role.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;

  -- A grant that the login may not make is a warning with its statement, so that the others are made:
  -- roles of these names can belong to another login, or to another application such as Supabase.
  -- The runner stops if it needs a right that is missing then.
  for wanted in
    select pg_catalog.format('grant %I to %I%s', role.name, role.member, option.text) as statement
    from (
      values
        ('anon', 'authenticator'),
        ('authenticated', 'authenticator'),
        ('auditor', 'authenticator'),
        ('sessionbase_owner', current_user::text)
    ) as role (name, member)
    cross join lateral (
      -- From PostgreSQL 16 on there are memberships without the right to become the role. A GRANT
      -- that does not name the option leaves it as it is.
      select case
        when pg_catalog.current_setting('server_version_num')::int >= 160000 then ' with set true'
      end as text
    ) as option
    where not exists (
      select from pg_catalog.pg_auth_members as membership
      where membership.roleid = role.name::regrole
        and membership.member = pg_catalog.quote_ident(role.member)::regrole
        -- PostgreSQL 15 has no set_option: there every member may become the role.
        and coalesce((pg_catalog.to_jsonb(membership) ->> 'set_option')::boolean, true)
    )
    union all
    select pg_catalog.format(
      'grant create on database %I to sessionbase_owner', pg_catalog.current_database()
    )
    where not pg_catalog.has_database_privilege(
      'sessionbase_owner', pg_catalog.current_database(), 'create'
    )
  loop
    begin
      execute wanted.statement;
    exception
      when insufficient_privilege then
        raise warning 'this login may not run: %', wanted.statement
          using hint = 'Another login runs it: a superuser, or the one that created the role or database.';
    end;
  end loop;
end
$$;
