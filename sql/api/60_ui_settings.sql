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
'The document as the app saved it; keys that sessionbase does not know are kept';
comment on column api.ui_settings.revision is
'1, 2, 3 …: moves at every change; send it as expected_revision to save only over what you read';
comment on column api.ui_settings.updated_at is 'When the settings last changed';
grant select on api.ui_settings to authenticated;

create or replace function api.save_ui_settings(
  settings jsonb, expected_revision bigint default null
) returns api.ui_settings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.ui_settings;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  begin
    if coalesce(save_ui_settings.expected_revision, 0) = 0 then
      insert into app.ui_settings (settings)
      values (save_ui_settings.settings)
      on conflict (profile_id) do update
      set settings = excluded.settings
      where save_ui_settings.expected_revision is null;
    else
      update app.ui_settings as stored
      set settings = save_ui_settings.settings
      where stored.profile_id = me and stored.revision = save_ui_settings.expected_revision;
    end if;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;
  if not found then
    perform app.refuse_stale_ui_settings(save_ui_settings.expected_revision);
  end if;

  select * into strict answer from api.ui_settings;
  return answer;
end
$$;
comment on function api.save_ui_settings(jsonb, bigint) is
'Replace the profile''s UI settings
With expected_revision, only if the stored revision is that one (0: nothing is stored yet); else 409
stale_revision, with the stored revision and settings in details.

- expected_revision: Save only if the stored revision is this one, 0 if nothing is
  stored; null: whatever it is';
grant execute on function api.save_ui_settings(jsonb, bigint) to authenticated;

create or replace function api.patch_ui_settings(
  patch jsonb, expected_revision bigint default null
) returns api.ui_settings
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  -- PostgREST hands JSON null over as SQL null; as a patch it would replace the whole document.
  given_patch constant jsonb := coalesce(patch_ui_settings.patch, 'null');
  answer api.ui_settings;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  if pg_catalog.jsonb_typeof(given_patch) <> 'object' then
    perform app.refuse_row('ui_settings', 'settings_is_object', 'patch');
  end if;
  begin
    if coalesce(patch_ui_settings.expected_revision, 0) = 0 then
      insert into app.ui_settings as stored (settings)
      values (app.json_merge_patch('{}', given_patch))
      on conflict (profile_id) do update
      set settings = app.json_merge_patch(stored.settings, given_patch)
      where patch_ui_settings.expected_revision is null;
    else
      update app.ui_settings as stored
      set settings = app.json_merge_patch(stored.settings, given_patch)
      where stored.profile_id = me and stored.revision = patch_ui_settings.expected_revision;
    end if;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;
  if not found then
    perform app.refuse_stale_ui_settings(patch_ui_settings.expected_revision);
  end if;

  select * into strict answer from api.ui_settings;
  return answer;
end
$$;
comment on function api.patch_ui_settings(jsonb, bigint) is
'Change parts of the profile''s UI settings (RFC 7396 merge patch)
Two callers that patch different parts at once lose nothing. null removes a key, an array replaces the
stored one. expected_revision works as in save_ui_settings.

- patch: The parts to change, in the shape of the settings; null removes a key
- expected_revision: Change only if the stored revision is this one; null: whatever it is';
grant execute on function api.patch_ui_settings(jsonb, bigint) to authenticated;
