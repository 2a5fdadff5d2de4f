-- Domain 5: the repository that a session works on.

create table app.session_repo_bindings (
  profile_id text not null default app.profile_id(),
  session_id text not null,
  asset_path text not null,
  root_dir text not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (profile_id, session_id),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint session_id_length check (octet_length(session_id) between 1 and 512),
  constraint asset_path_length check (octet_length(asset_path) between 1 and 4096),
  constraint root_dir_length check (octet_length(root_dir) between 1 and 4096)
);
comment on table app.session_repo_bindings is 'The repository that a session works on: at most one per session.';
comment on column app.session_repo_bindings.profile_id is 'The profile that it belongs to';
comment on column app.session_repo_bindings.session_id is 'The session; owned by another service';
comment on column app.session_repo_bindings.asset_path is 'The session''s asset';
comment on column app.session_repo_bindings.root_dir is 'The root folder of the repository';
comment on column app.session_repo_bindings.updated_at is 'When it was last set';
comment on constraint profile_id_length on app.session_repo_bindings is
'The profile id must have 1 to 200 bytes';
comment on constraint session_id_length on app.session_repo_bindings is
'session_id must have 1 to 512 bytes';
comment on constraint asset_path_length on app.session_repo_bindings is
'asset_path must have 1 to 4096 bytes';
comment on constraint root_dir_length on app.session_repo_bindings is
'root_dir must have 1 to 4096 bytes';

create table app.cleared_session_repo_bindings (
  profile_id text not null,
  session_id text not null,
  updated_at timestamptz not null,
  primary key (profile_id, session_id)
);
comment on table app.cleared_session_repo_bindings is
'The last updated_at of each binding that was cleared, so that a later binding of the session never
has an older one. Written by triggers; no client role can read it.';
comment on column app.cleared_session_repo_bindings.profile_id is 'The profile of the binding';
comment on column app.cleared_session_repo_bindings.session_id is 'The session of the binding';
comment on column app.cleared_session_repo_bindings.updated_at is
'updated_at of the binding when it was cleared';

create trigger touch before update on app.session_repo_bindings
for each row execute function app.touch_session_repo_binding();
create trigger continue_time after insert on app.session_repo_bindings
for each row execute function app.continue_session_repo_binding_time();
create trigger keep_time after delete on app.session_repo_bindings
for each row execute function app.keep_session_repo_binding_time();
create trigger refuse_bulk_change after delete on app.session_repo_bindings
referencing old table as changed_rows
for each statement execute function app.refuse_bulk_change('session_id');

alter table app.cleared_session_repo_bindings enable row level security;
alter table app.session_repo_bindings enable row level security;
create policy no_estimates on app.session_repo_bindings as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.session_repo_bindings for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.session_repo_bindings for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.session_repo_bindings for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));
create policy delete_own on app.session_repo_bindings for delete to authenticated
using (profile_id = (select app.profile_id()));

grant select, delete on app.session_repo_bindings to authenticated;
grant insert (session_id, asset_path, root_dir) on app.session_repo_bindings to authenticated;
grant update (asset_path, root_dir) on app.session_repo_bindings to authenticated;
