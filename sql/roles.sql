-- The cluster's roles. Idempotent: run again, it writes nothing that is there already.
-- The one file that needs a login that may create roles; everything after it runs as
-- sessionbase_owner. Names of the client roles are those that PostgREST and Supabase users know.

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
        -- A client can neither hold a connection of the pool for long nor leave it in a
        -- transaction. Set once, at creation: what a DBA sets later stays.
        if wanted.name in ('anon', 'authenticated', 'auditor') then
          execute pg_catalog.format('alter role %I set statement_timeout = %L', wanted.name, '15s');
        elsif wanted.name = 'authenticator' then
          alter role authenticator set idle_in_transaction_session_timeout = '30s';
        end if;
      exception
        -- Another database of this cluster was set up at the same time and came first.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;

  -- Only a login that has REPLICATION (or is superuser) may give it; elsewhere (a managed
  -- service) the DBA does so by its own means.
  if exists (
    select from pg_catalog.pg_roles
    where rolname = current_user and (rolsuper or rolreplication)
  ) and not (select rolreplication from pg_catalog.pg_roles where rolname = 'sessionbase_replicator')
  then
    alter role sessionbase_replicator replication;
  end if;

  for wanted in
    select role.name, member.name as member
    from (values ('anon'), ('authenticated'), ('auditor')) as role (name)
    cross join (values ('authenticator')) as member (name)
    union all
    select 'sessionbase_owner', current_user
  loop
    if not exists (
      select from pg_catalog.pg_auth_members as membership
      where membership.roleid = wanted.name::regrole
        and membership.member = pg_catalog.quote_ident(wanted.member)::regrole
        and membership.set_option
    ) then
      execute pg_catalog.format('grant %I to %I', wanted.name, wanted.member);
    end if;
  end loop;

  if not pg_catalog.has_database_privilege(
    'sessionbase_owner', pg_catalog.current_database(), 'create'
  ) then
    execute pg_catalog.format(
      'grant create on database %I to sessionbase_owner', pg_catalog.current_database()
    );
  end if;
end
$$;
