-- Domain 6: what the table of settings refuses from every role, and what each role can access.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

-- ---- Each CHECK is violated alone, by a superuser

create temporary table breaches (rule text, profile_id text, settings jsonb, revision bigint);
insert into breaches values
('profile_id_length', '', '{}', 1),
('profile_id_length', repeat('x', 201), '{}', 1),
('settings_is_object', 'rules', '[]', 1),
('settings_is_object', 'rules', '"{}"', 1),
('settings_is_object', 'rules', 'null', 1),
('settings_known_types', 'rules', '{"lastSessionPath": 1}', 1),
('settings_known_types', 'rules', '{"ruleInspector": []}', 1),
('settings_known_types', 'rules', '{"bookmarks": {}}', 1),
('settings_known_types', 'rules', '{"sessionExplorer": "x"}', 1),
('settings_known_types', 'rules', '{"timelinePreferences": []}', 1),
('settings_known_types', 'rules', '{"timelinePreferences": {"filters": "x"}}', 1),
('settings_known_types', 'rules', '{"timelinePreferences": {"sortOrder": 1}}', 1),
('settings_known_types', 'rules', '{"timelinePreferences": {"searchQuery": []}}', 1),
('settings_size', 'rules', jsonb_build_object('x', repeat('x', 1048576)), 1),
('revision_starts_at_one', 'rules', '{}', 0);
select throws_ok(
  format(
    'insert into app.ui_settings (profile_id, settings, revision) values (%L, %L, %s)',
    profile_id, settings, revision
  ),
  '23514',
  format('new row for relation "ui_settings" violates check constraint "%s"', rule),
  format('%s refuses %s', rule, left(settings::text, 80))
)
from breaches;
select set_eq(
  $$ select conname::text from pg_constraint
     where conrelid = 'app.ui_settings'::regclass and contype = 'c' $$,
  'select distinct rule from breaches',
  'every CHECK of the table is violated above: add rows to breaches, or remove those without a CHECK'
);
select lives_ok(
  format('insert into app.ui_settings (profile_id, settings) values (%L, %L)', gen_random_uuid(), settings),
  format('%s is allowed', settings)
)
from unnest(array[
  '{}',
  '{"lastSessionPath": null, "bookmarks": null, "timelinePreferences": null}',
  '{"later": [[{}]], "timelinePreferences": {"filters": [[]], "later": 1, "sortOrder": null}}'
]::jsonb[]) as settings;

-- ---- Revisions

insert into app.ui_settings (profile_id, settings) values ('revised', '{}');
update app.ui_settings set settings = '{"a": 1}' where profile_id = 'revised';
update app.ui_settings
set settings = '{"a": 2}', revision = 1, updated_at = '2001-01-01'
where profile_id = 'revised';
select results_eq(
  $$ select revision, updated_at > now() - interval '1 day' from app.ui_settings
     where profile_id = 'revised' $$,
  $$ values (3::bigint, true) $$,
  'every change increases the revision, also if the statement sets it'
);

-- ---- Cases of the merge patch that are not in the table of the RFC

select is(app.json_merge_patch(target, patch), result, format('%s with %s', target, patch))
from (values
  ('{"a": {"b": {"c": 1, "d": 2}}}'::jsonb, '{"a": {"b": {"c": null}}}'::jsonb, '{"a": {"b": {"d": 2}}}'::jsonb),
  ('{"a": 1}', '{}', '{"a": 1}'),
  ('{"a": {"b": 1}}', '{"a": {}}', '{"a": {"b": 1}}'),
  ('{"a": 1}', '{"a": {"b": null}}', '{"a": {}}'),
  ('{"a": [1, 2]}', '{"a": []}', '{"a": []}'),
  ('{"a": {"b": null}}', '{"a": {"c": 1}}', '{"a": {"b": null, "c": 1}}'),
  ('{"": 1}', '{"": null, " ": {"": 2}}', '{" ": {"": 2}}'),
  (null, '{"a": {"b": null, "c": 1}}', '{"a": {"c": 1}}')
) as examples (target, patch, result);

-- ---- What each role can access

select authenticate_as('alice');
select is((api.save_ui_settings('{"of": "alice"}')).revision, 1::bigint, 'alice saves');
select authenticate_as('bob');
select is(
  refusal($$ select api.patch_ui_settings('{"of": "bob"}', 1) $$),
  '409 stale_revision The settings are at revision 0, not 1; nothing was saved',
  'the revision of alice does not apply to bob'
);
select is_empty('select * from api.ui_settings', 'bob cannot read the settings of alice');
select is((api.patch_ui_settings('{"of": "bob"}')).revision, 1::bigint, 'bob has his own revision');
select set_eq(
  'select profile_id, settings from app.ui_settings', $$ values ('bob', '{"of": "bob"}'::jsonb) $$,
  'a profile can read its own settings only'
);
select throws_ok(statement, '42501', null, 'a profile may not: ' || statement)
from unnest(array[
  $$ insert into app.ui_settings (profile_id, settings) values ('carol', '{}') $$,
  $$ insert into api.ui_settings (settings) values ('{}') $$,
  $$ update api.ui_settings set settings = '{}' $$,
  $$ update app.ui_settings set revision = 1 $$,
  $$ update app.ui_settings set profile_id = 'carol' $$,
  $$ delete from app.ui_settings $$,
  $$ truncate app.ui_settings $$
]) as statement;
select authenticate_as('bob', 'auditor');
select throws_ok(statement, '42501', null, 'an auditor may not: ' || statement)
from unnest(array[
  'select * from api.ui_settings', $$ select api.save_ui_settings('{}') $$,
  $$ select api.patch_ui_settings('{}') $$
]) as statement;
select authenticate_as('bob', 'anon');
select throws_ok(statement, '42501', null, 'a guest may not: ' || statement)
from unnest(array[
  'select * from api.ui_settings', $$ select api.save_ui_settings('{}') $$,
  $$ select api.patch_ui_settings('{}') $$
]) as statement;
select as_dba();
select set_eq(
  $$ select profile_id, settings ->> 'of' from app.ui_settings where profile_id in ('alice', 'bob') $$,
  $$ values ('alice', 'alice'), ('bob', 'bob') $$,
  'the settings of alice are unchanged'
);

select finish();
rollback;
