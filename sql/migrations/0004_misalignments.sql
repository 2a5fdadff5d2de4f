-- Domain 3: misalignments, the violations of rules in a session.

create table app.misalignments (
  profile_id text not null default app.profile_id(),
  session_id text not null,
  id text not null,
  rule_id text not null,
  title text not null,
  summary text not null,
  severity text not null default 'medium',
  status text not null default 'open',
  previous_status text,
  event_range jsonb,
  evidence jsonb not null default '[]',
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null,
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint session_id_length check (octet_length(session_id) between 1 and 512),
  constraint id_length check (octet_length(id) between 1 and 1024),
  constraint rule_id_length check (octet_length(rule_id) between 1 and 400),
  constraint severity_known check (severity in ('info', 'low', 'medium', 'high', 'critical')),
  constraint status_known check (status in ('open', 'acknowledged', 'dismissed')),
  constraint previous_status_known
  check (previous_status in ('open', 'acknowledged', 'dismissed')),
  constraint event_range_shape check (
    jsonb_typeof(event_range) = 'object'
    and event_range @? '$ ? (
      @.startIndex.type() == "number"
      && @.endIndex.type() == "number"
      && @.startAt.type() == "string"
      && @.endAt.type() == "string"
    )'
  ),
  constraint evidence_shape check (
    jsonb_typeof(evidence) = 'array'
    -- Strict: a lax path would unwrap an array where an object is required.
    and not evidence @? 'strict $[*] ? (@.type() != "object")'
    and not evidence @? '$[*] ? (!(
      @.message.type() == "string"
      && (!exists(@.eventIndex) || @.eventIndex.type() == "number" || @.eventIndex.type() == "null")
      && (!exists(@.eventId) || @.eventId.type() == "string" || @.eventId.type() == "null")
      && (!exists(@.highlight) || @.highlight.type() == "string" || @.highlight.type() == "null")
    ))'
  ),
  constraint title_size check (octet_length(title) <= 65536),
  constraint summary_size check (octet_length(summary) <= 1048576),
  constraint event_range_size check (octet_length(event_range::text) <= 65536),
  constraint evidence_size check (octet_length(evidence::text) <= 1048576)
)
with (fillfactor = 80);

comment on table app.misalignments is 'The violations of rules in a session, and their review status.';
comment on column app.misalignments.profile_id is 'The profile that it belongs to';
comment on column app.misalignments.session_id is 'The session; owned by another service';
comment on column app.misalignments.id is 'The id, by default mis-<session_id>-<rule_id>';
comment on column app.misalignments.rule_id is 'The rule that was violated';
comment on column app.misalignments.title is 'A heading';
comment on column app.misalignments.summary is 'What happened';
comment on column app.misalignments.severity is 'info, low, medium, high or critical';
comment on column app.misalignments.status is 'open, acknowledged or dismissed';
comment on column app.misalignments.previous_status is 'The status before the last transition';
comment on column app.misalignments.event_range is '{startIndex, endIndex, startAt, endAt}';
comment on column app.misalignments.evidence is '[{message, eventIndex?, eventId?, highlight?}]';
comment on column app.misalignments.created_at is 'When it was first found';
comment on column app.misalignments.updated_at is 'When its content or its status last changed';

comment on constraint profile_id_length on app.misalignments is
'The profile id must have 1 to 200 bytes';
comment on constraint session_id_length on app.misalignments is
'session_id must have 1 to 512 bytes';
comment on constraint id_length on app.misalignments is 'id must have 1 to 1024 bytes';
comment on constraint rule_id_length on app.misalignments is 'rule_id must have 1 to 400 bytes';
comment on constraint severity_known on app.misalignments is
'severity must be info, low, medium, high or critical';
comment on constraint status_known on app.misalignments is
'status must be open, acknowledged or dismissed';
comment on constraint previous_status_known on app.misalignments is
'previous_status is a status, or null before the first transition';
comment on constraint event_range_shape on app.misalignments is
'event_range must be {startIndex, endIndex, startAt, endAt}: two numbers and two texts';
comment on constraint evidence_shape on app.misalignments is
'evidence must be an array of {message, eventIndex?, eventId?, highlight?}';
comment on constraint title_size on app.misalignments is 'title may have 64 KiB at most';
comment on constraint summary_size on app.misalignments is 'summary may have 1 MiB at most';
comment on constraint event_range_size on app.misalignments is
'event_range may have 64 KiB at most';
comment on constraint evidence_size on app.misalignments is 'evidence may have 1 MiB at most';

-- GET /misalignments?session_id=eq.S&order=created_at,id
create index misalignments_by_session
on app.misalignments (profile_id, session_id, created_at, id);
-- GET /misalignments?order=created_at.desc&limit=N: the newest N of a profile
create index misalignments_by_time on app.misalignments (profile_id, created_at);
-- GET /misalignments?status=eq.open&order=created_at.desc&limit=N
create index misalignments_by_status on app.misalignments (profile_id, status, created_at);
-- The session is part of the key because the app keeps one list per session.
alter table app.misalignments add primary key (profile_id, session_id, id);

create table app.misalignment_transitions (
  profile_id text not null,
  session_id text not null,
  misalignment_id text not null,
  number integer not null,
  from_status text,
  to_status text not null,
  changed_at timestamptz not null default clock_timestamp(),
  changed_by text not null default app.actor(),
  constraint misalignment_exists
  foreign key (profile_id, session_id, misalignment_id)
  references app.misalignments (profile_id, session_id, id),
  constraint number_starts_at_one check (number >= 1),
  constraint from_status_unless_first check ((number = 1) = (from_status is null))
);
comment on table app.misalignment_transitions is
'The log of status transitions of misalignments: append-only, written by a trigger.';
comment on column app.misalignment_transitions.profile_id is 'The profile of the misalignment';
comment on column app.misalignment_transitions.session_id is 'The session of the misalignment';
comment on column app.misalignment_transitions.misalignment_id is 'The misalignment';
comment on column app.misalignment_transitions.number is '1, 2, 3 … for each misalignment';
comment on column app.misalignment_transitions.from_status is
'The status before; null at the start';
comment on column app.misalignment_transitions.to_status is 'The status entered';
comment on column app.misalignment_transitions.changed_at is 'When';
comment on column app.misalignment_transitions.changed_by is 'Who: a profile or a database login';
comment on constraint misalignment_exists on app.misalignment_transitions is
'A log row belongs to a misalignment';
comment on constraint number_starts_at_one on app.misalignment_transitions is
'Transitions are numbered from 1';
comment on constraint from_status_unless_first on app.misalignment_transitions is
'Only the first entry has no status before it';

-- GET /misalignment_transitions?order=changed_at.desc as a profile
create index misalignment_transitions_by_time
on app.misalignment_transitions (profile_id, changed_at);
-- GET /misalignment_transitions?order=changed_at.desc as an auditor, over all profiles
create index misalignment_transitions_by_time_of_all
on app.misalignment_transitions (changed_at, profile_id);
alter table app.misalignment_transitions
add primary key (profile_id, session_id, misalignment_id, number);

create trigger start before insert on app.misalignments
for each row execute function app.start_misalignment();
create trigger guard_transition before update on app.misalignments
for each row execute function app.guard_misalignment();
create trigger log_start after insert on app.misalignments
for each row execute function app.log_misalignment_transition();
create trigger log_transition after update of status on app.misalignments
for each row when (old.status is distinct from new.status)
execute function app.log_misalignment_transition();
create trigger append_only before update or delete or truncate on app.misalignment_transitions
for each statement execute function app.refuse_change();

alter table app.misalignments enable row level security;
create policy no_estimates on app.misalignments as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.misalignments for select to authenticated
using (profile_id = (select app.profile_id()));
create policy insert_own on app.misalignments for insert to authenticated
with check (profile_id = (select app.profile_id()));
create policy update_own on app.misalignments for update to authenticated
using (profile_id = (select app.profile_id()))
with check (profile_id = (select app.profile_id()));

alter table app.misalignment_transitions enable row level security;
create policy no_estimates on app.misalignment_transitions as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.misalignment_transitions for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.misalignment_transitions for select to auditor
using (true);

grant select on app.misalignments to authenticated;
grant insert (
  session_id, id, rule_id, title, summary, severity, status, event_range, evidence
) on app.misalignments to authenticated;
grant update (
  rule_id, title, summary, severity, status, event_range, evidence
) on app.misalignments to authenticated;
grant select on app.misalignment_transitions to authenticated, auditor;
