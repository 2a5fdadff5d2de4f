-- Import and erasure of a whole profile. Every import and erasure is an entry of app.profile_log. An
-- append-only table allows a DELETE only of rows whose profile has an erasure entry of the same
-- transaction, so no row of the audit can be deleted without leaving that entry.

create table app.profile_log (
  profile_id text not null,
  number integer not null,
  action text not null,
  done_at timestamptz not null,
  done_by text not null,
  transaction_id xid8 not null,
  row_counts jsonb not null,
  chain_length bigint not null,
  chain_head_hash text not null,
  content_sha256 text,
  reason text,
  history jsonb not null default '[]',
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint number_starts_at_one check (number >= 1),
  constraint action_known check (action in ('import', 'erase')),
  constraint row_counts_shape check (jsonb_typeof(row_counts) = 'object'),
  constraint chain_length_not_negative check (chain_length >= 0),
  constraint chain_head_hash_is_sha256 check (chain_head_hash ~ '^[0-9a-f]{64}$'),
  constraint content_sha256_is_sha256 check (content_sha256 ~ '^[0-9a-f]{64}$'),
  constraint reason_length check (octet_length(reason) between 1 and 2000),
  constraint history_shape check (jsonb_typeof(history) = 'array')
);
comment on table app.profile_log is
'The log of imports and erasures of whole profiles: append-only. An erasure entry stays when the rows of
the profile are deleted.';
comment on column app.profile_log.profile_id is 'The profile that was imported or erased';
comment on column app.profile_log.number is '1, 2, 3 … per profile; set by a trigger';
comment on column app.profile_log.action is 'import or erase';
comment on column app.profile_log.done_at is 'When its transaction began; set by a trigger';
comment on column app.profile_log.done_by is 'The login that did it; set by a trigger';
comment on column app.profile_log.transaction_id is
'Its transaction, for the triggers: only this one may import or erase; set by a trigger';
comment on column app.profile_log.row_counts is
'How many rows of each table were imported or erased. Of an erasure it is set by a trigger';
comment on column app.profile_log.chain_length is
'The number of decisions that were imported or erased. Of an erasure it is set by a trigger';
comment on column app.profile_log.chain_head_hash is
'row_hash of the newest of them; 64 zeros if there are none. Of an erasure it is set by a trigger';
comment on column app.profile_log.content_sha256 is
'SHA-256 (hex) of the rows in the export file: of the imported one, or of the one that an erased profile
was compared with; null if there was none';
comment on column app.profile_log.reason is 'The reason that the operator gave, or null';
comment on column app.profile_log.history is
'Of an import: the entries of the profile''s log in the database that it was exported from';
comment on constraint profile_id_length on app.profile_log is 'The profile id must have 1 to 200 bytes';
comment on constraint number_starts_at_one on app.profile_log is 'Entries are numbered from 1';
comment on constraint action_known on app.profile_log is 'action must be import or erase';
comment on constraint row_counts_shape on app.profile_log is 'row_counts must be a JSON object';
comment on constraint chain_length_not_negative on app.profile_log is
'A chain has no negative length';
comment on constraint chain_head_hash_is_sha256 on app.profile_log is
'chain_head_hash must be a SHA-256 in 64 lowercase hexadecimal digits';
comment on constraint content_sha256_is_sha256 on app.profile_log is
'content_sha256 must be a SHA-256 in 64 lowercase hexadecimal digits';
comment on constraint reason_length on app.profile_log is 'reason must have 1 to 2000 bytes';
comment on constraint history_shape on app.profile_log is 'history must be a JSON array';

-- The profiles that verify must report although they may have no decision: without this index it would
-- read the entries of all imported profiles for each profile that it lists.
create index profile_log_of_chains on app.profile_log (profile_id)
where action = 'erase' or chain_length > 0;
alter table app.profile_log add primary key (profile_id, number);

create trigger start before insert on app.profile_log
for each row execute function app.start_profile_log_entry();
-- At the commit: an import is complete, and nothing of an erased profile is left.
create constraint trigger complete after insert on app.profile_log
deferrable initially deferred
for each row execute function app.require_complete_profile();
create trigger append_only before update or delete or truncate on app.profile_log
for each statement execute function app.refuse_change();

alter table app.profile_log enable row level security;
create policy no_estimates on app.profile_log as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.profile_log for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.profile_log for select to auditor
using (true);
grant select on app.profile_log to authenticated, auditor;

-- DELETE is now refused row by row, by the profile, and not for the whole statement.
create or replace trigger append_only before update or truncate on app.tool_event_transitions
for each statement execute function app.refuse_change();
create trigger erasure_only after delete on app.tool_event_transitions
referencing old table as deleted_rows
for each statement execute function app.require_erasure();

create or replace trigger append_only before truncate on app.hookify_chains
for each statement execute function app.refuse_change();
create trigger erasure_only after delete on app.hookify_chains
referencing old table as deleted_rows
for each statement execute function app.require_erasure();

create or replace trigger append_only before update or truncate on app.hookify_decisions
for each statement execute function app.refuse_change();
create trigger erasure_only after delete on app.hookify_decisions
referencing old table as deleted_rows
for each statement execute function app.require_erasure();

create or replace trigger append_only before update or truncate on app.misalignment_transitions
for each statement execute function app.refuse_change();
create trigger erasure_only after delete on app.misalignment_transitions
referencing old table as deleted_rows
for each statement execute function app.require_erasure();
