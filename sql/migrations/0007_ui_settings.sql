-- Domain 6: the UI settings of a profile, one document.

create function app.json_merge_patch(target jsonb, patch jsonb) returns jsonb
language plpgsql
immutable
security invoker
parallel safe
set search_path = ''
as $$
begin
  if pg_catalog.jsonb_typeof(json_merge_patch.patch) <> 'object' then
    return json_merge_patch.patch;
  end if;
  -- All members in one pass: one at a time would copy the document as often as it has members.
  return (
    select coalesce(
      pg_catalog.jsonb_object_agg(
        coalesce(kept.key, given.key),
        case
          when given.key is null then kept.value
          else app.json_merge_patch(kept.value, given.value)
        end
      ),
      '{}'
    )
    from pg_catalog.jsonb_each(
      case
        when pg_catalog.jsonb_typeof(json_merge_patch.target) = 'object'
          then json_merge_patch.target
        else '{}'
      end
    ) as kept
    full join pg_catalog.jsonb_each(json_merge_patch.patch) as given on kept.key = given.key
    where given.value is distinct from 'null'
  );
end
$$;
comment on function app.json_merge_patch(jsonb, jsonb) is
'Apply a JSON merge patch as RFC 7396, section 2, says.';
grant execute on function app.json_merge_patch(jsonb, jsonb) to authenticated;

create table app.ui_settings (
  profile_id text primary key default app.profile_id(),
  settings jsonb not null,
  revision bigint not null default 1,
  updated_at timestamptz not null default clock_timestamp(),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint settings_is_object check (jsonb_typeof(settings) = 'object'),
  -- Known keys have their known type; null and other keys are the app's own business.
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
comment on table app.ui_settings is 'How the user has set up the app: one JSON document a profile.';
comment on column app.ui_settings.profile_id is 'The profile whose settings they are';
comment on column app.ui_settings.settings is 'The document, as the app writes it';
comment on column app.ui_settings.revision is '1, 2, 3 …: moves at every save and patch';
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

create function app.revise_ui_settings() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.revision := old.revision + 1;
  new.updated_at := greatest(
    pg_catalog.clock_timestamp(), old.updated_at + interval '1 microsecond'
  );
  return new;
end
$$;
comment on function app.revise_ui_settings() is
'Trigger: every change, whoever makes it, is a new revision.';

create trigger revise before update on app.ui_settings
for each row execute function app.revise_ui_settings();

alter table app.ui_settings enable row level security;
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

create function app.refuse_stale_ui_settings(expected_revision bigint) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  stored app.ui_settings;
begin
  select * into stored
  from app.ui_settings as current_settings
  where current_settings.profile_id = app.profile_id();
  perform app.raise_error(
    409, 'stale_revision',
    pg_catalog.format(
      'The settings are at revision %s, not %s; nothing was saved',
      coalesce(stored.revision, 0), refuse_stale_ui_settings.expected_revision
    ),
    pg_catalog.jsonb_build_object(
      'revision', coalesce(stored.revision, 0), 'settings', stored.settings
    ),
    'Merge your change into the settings in details, or send only what changed to patch_ui_settings'
  );
end
$$;
comment on function app.refuse_stale_ui_settings(bigint) is
'Tell a caller that its revision is not the stored one, and what is stored. Revision 0: nothing.';
grant execute on function app.refuse_stale_ui_settings(bigint) to authenticated;
