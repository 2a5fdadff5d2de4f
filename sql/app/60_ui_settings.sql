-- Domain 6: storing UI settings.

create or replace function app.json_merge_patch(target jsonb, patch jsonb) returns jsonb
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
  -- All members in one pass: one at a time would copy the document once per member.
  return (
    select coalesce(
      pg_catalog.jsonb_object_agg(
        coalesce(stored.key, given.key),
        case
          when given.key is null then stored.value
          else app.json_merge_patch(stored.value, given.value)
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
    ) as stored
    full join pg_catalog.jsonb_each(json_merge_patch.patch) as given on stored.key = given.key
    where given.value is distinct from 'null'
  );
end
$$;
comment on function app.json_merge_patch(jsonb, jsonb) is
'Apply a JSON merge patch as defined by RFC 7396, section 2.';
grant execute on function app.json_merge_patch(jsonb, jsonb) to authenticated;

create or replace function app.revise_ui_settings() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.revision := old.revision + 1;
  new.updated_at := app.next_timestamp(old.updated_at);
  return new;
end
$$;
comment on function app.revise_ui_settings() is
'Trigger: every change, by every role, is a new revision.';

create or replace function app.store_ui_settings(
  document jsonb, is_patch boolean, expected_revision bigint
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  stored app.ui_settings;
  violation app.violation;
begin
  loop
    begin
      if coalesce(store_ui_settings.expected_revision, 0) = 0 then
        insert into app.ui_settings as current_settings (settings)
        values (
          case
            when store_ui_settings.is_patch
              then app.json_merge_patch('{}', store_ui_settings.document)
            else store_ui_settings.document
          end
        )
        on conflict (profile_id) do update
        set settings = case
          when store_ui_settings.is_patch
            then app.json_merge_patch(current_settings.settings, store_ui_settings.document)
          else store_ui_settings.document
        end
        where store_ui_settings.expected_revision is null;
      else
        update app.ui_settings as current_settings
        set settings = case
          when store_ui_settings.is_patch
            then app.json_merge_patch(current_settings.settings, store_ui_settings.document)
          else store_ui_settings.document
        end
        where current_settings.profile_id = me
          and current_settings.revision = store_ui_settings.expected_revision;
      end if;
      exit when found;
    exception
      when check_violation or not_null_violation then
        get stacked diagnostics
          violation.table_name = table_name,
          violation.constraint_name = constraint_name,
          violation.column_name = column_name;
        perform app.refuse_row(violation);
    end;

    -- Nothing was written: the revision is another one. Lock the row before it is reported.
    select * into stored
    from app.ui_settings as current_settings
    where current_settings.profile_id = me
    for update;
    if coalesce(stored.revision, 0) <> store_ui_settings.expected_revision then
      perform app.raise_error(
        409, 'stale_revision',
        pg_catalog.format(
          'The settings are at revision %s, not %s; nothing was saved',
          coalesce(stored.revision, 0), store_ui_settings.expected_revision
        ),
        pg_catalog.jsonb_build_object(
          'revision', coalesce(stored.revision, 0), 'settings', stored.settings
        ),
        'Merge your change into the settings in details, or send only what changed to '
        || 'patch_ui_settings'
      );
    end if;
    -- Another transaction has just written the expected revision: try again.
  end loop;
end
$$;
comment on function app.store_ui_settings(jsonb, boolean, bigint) is
'Replace the profile''s settings, or merge a patch into them, if the stored revision is the expected
one. Null: any revision. 0: nothing is stored.';
grant execute on function app.store_ui_settings(jsonb, boolean, bigint) to authenticated;
