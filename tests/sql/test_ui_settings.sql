-- Domain 6: what the table of settings refuses, whoever writes, and what a profile can reach.
begin;
set local search_path = tap, pg_catalog;
select no_plan();

-- ---- The rules of a row, against a superuser

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
  'every rule of the table has been broken above'
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
  'every change is a new revision, whatever the statement says'
);

-- ---- The merge patch beyond the RFC's table

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

-- ---- What a profile can reach

select authenticate_as('alice');
select is((api.save_ui_settings('{"of": "alice"}')).revision, 1::bigint, 'alice saves');
select authenticate_as('bob');
select is(
  refusal($$ select api.patch_ui_settings('{"of": "bob"}', 1) $$),
  '409 stale_revision The settings are at revision 0, not 1; nothing was saved',
  'alice''s revision is not bob''s'
);
select is_empty('select * from api.ui_settings', 'nor does he see her settings');
select is((api.patch_ui_settings('{"of": "bob"}')).revision, 1::bigint, 'he has his own');
select set_eq(
  'select profile_id, settings from app.ui_settings', $$ values ('bob', '{"of": "bob"}'::jsonb) $$,
  'a profile sees its own settings alone'
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
  'alice''s settings are as she left them'
);

select finish();
rollback;
