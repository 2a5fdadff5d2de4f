-- Domain 6: the UI settings of a profile, one document.

create table app.ui_settings (
  profile_id text primary key default app.profile_id(),
  settings jsonb not null,
  revision bigint not null default 1,
  updated_at timestamptz not null default clock_timestamp(),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint settings_is_object check (jsonb_typeof(settings) = 'object'),
  -- Known keys must have their type, or null. Other keys are not checked.
  constraint settings_known_types check (
    not settings @? '$ ? (
      (exists(@.lastSessionPath)
        && @.lastSessionPath.type() != "string" && @.lastSessionPath.type() != "null")
      || (exists(@.ruleInspector)
        && @.ruleInspector.type() != "object" && @.ruleInspector.type() != "null")
      || (exists(@.bookmarks)
        && @.bookmarks.type() != "array" && @.bookmarks.type() != "null")
      || (exists(@.sessionExplorer)
        && @.sessionExplorer.type() != "object" && @.sessionExplorer.type() != "null")
      || (exists(@.timelinePreferences)
        && @.timelinePreferences.type() != "object" && @.timelinePreferences.type() != "null")
      || (exists(@.timelinePreferences.filters)
        && @.timelinePreferences.filters.type() != "array"
        && @.timelinePreferences.filters.type() != "null")
      || (exists(@.timelinePreferences.sortOrder)
        && @.timelinePreferences.sortOrder.type() != "string"
        && @.timelinePreferences.sortOrder.type() != "null")
      || (exists(@.timelinePreferences.searchQuery)
        && @.timelinePreferences.searchQuery.type() != "string"
        && @.timelinePreferences.searchQuery.type() != "null")
    )'
  ),
  constraint settings_size check (octet_length(settings::text) <= 1048576),
  constraint revision_starts_at_one check (revision >= 1)
);
comment on table app.ui_settings is 'The UI settings: one JSON document per profile.';
comment on column app.ui_settings.profile_id is 'The profile that the settings belong to';
comment on column app.ui_settings.settings is 'The document, as the app saved it';
comment on column app.ui_settings.revision is '1, 2, 3 …: incremented at every save and patch';
comment on column app.ui_settings.updated_at is 'When it was last saved or patched';
comment on constraint profile_id_length on app.ui_settings is
'The profile id must have 1 to 200 bytes';
comment on constraint settings_is_object on app.ui_settings is 'settings must be a JSON object';
comment on constraint settings_known_types on app.ui_settings is
'Known settings must have their type: lastSessionPath a text; ruleInspector, sessionExplorer and
timelinePreferences objects; bookmarks and timelinePreferences.filters arrays;
timelinePreferences.sortOrder and searchQuery texts; or null';
comment on constraint settings_size on app.ui_settings is 'settings may have 1 MiB at most';
comment on constraint revision_starts_at_one on app.ui_settings is 'Revisions are numbered from 1';

create trigger revise before update on app.ui_settings
for each row execute function app.revise_ui_settings();

alter table app.ui_settings enable row level security;
create policy no_estimates on app.ui_settings as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.ui_settings for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.ui_settings for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.ui_settings for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));

grant select on app.ui_settings to authenticated;
grant insert (settings) on app.ui_settings to authenticated;
grant update (settings) on app.ui_settings to authenticated;
