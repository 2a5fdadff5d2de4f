-- Domain 6: the UI settings of a profile.

create or replace view api.ui_settings
with (security_invoker = true) as
select
  stored.settings,
  stored.revision,
  stored.updated_at
from app.ui_settings as stored;

comment on view api.ui_settings is
'The profile''s UI settings: one row, or none before the first save
A guest (no token) gets 403 guest_not_stored: guest settings stay on the device.';
comment on column api.ui_settings.settings is
'The document as the app saved it; unknown keys are stored too';
comment on column api.ui_settings.revision is
'1, 2, 3 …: incremented at every change; send it as expected_revision to detect concurrent changes';
comment on column api.ui_settings.updated_at is 'When the settings last changed';
grant select on api.ui_settings to authenticated;

create or replace function api.save_ui_settings(
  settings jsonb default null, expected_revision bigint default null
) returns api.ui_settings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  result api.ui_settings;
begin
  perform app.limit_depth('settings', save_ui_settings.settings);
  perform app.store_ui_settings(
    save_ui_settings.settings, false, save_ui_settings.expected_revision
  );
  select * into strict result from api.ui_settings;
  return result;
end
$$;
comment on function api.save_ui_settings(jsonb, bigint) is
'Replace the profile''s UI settings
With expected_revision, only if the stored revision is that one (0: nothing is stored yet); else 409
stale_revision, with the stored revision and settings in details.

- settings: Required. The whole document
- expected_revision: Save only if the stored revision is this one, 0 if nothing is
  stored; null: any revision';
grant execute on function api.save_ui_settings(jsonb, bigint) to authenticated;

create or replace function api.patch_ui_settings(
  patch jsonb default null, expected_revision bigint default null
) returns api.ui_settings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  result api.ui_settings;
begin
  -- A patch that is not an object would replace the whole document (RFC 7396).
  if pg_catalog.jsonb_typeof(patch_ui_settings.patch) is distinct from 'object' then
    perform app.refuse_row(('ui_settings', 'settings_is_object', 'patch'));
  end if;
  -- The merge is recursive and needs about 3 kB of the stack for each level.
  perform app.limit_depth('patch', patch_ui_settings.patch, 200);
  perform app.store_ui_settings(
    patch_ui_settings.patch, true, patch_ui_settings.expected_revision
  );
  select * into strict result from api.ui_settings;
  return result;
end
$$;
comment on function api.patch_ui_settings(jsonb, bigint) is
'Change parts of the profile''s UI settings (RFC 7396 merge patch)
Two callers that patch different parts at the same time lose nothing. null removes a key, an array
replaces the stored one. expected_revision works as in save_ui_settings.

- patch: Required. The parts to change, in the shape of the settings; null removes a key
- expected_revision: Change only if the stored revision is this one; null: any revision';
grant execute on function api.patch_ui_settings(jsonb, bigint) to authenticated;
