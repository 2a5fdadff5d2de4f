-- Domain 2: the audit of hookify decisions: append-only, with one hash chain per profile.

create table app.hookify_chains (
  profile_id text primary key,
  length bigint not null default 0,
  head_hash text not null default repeat('0', 64),
  constraint length_not_negative check (length >= 0),
  constraint head_hash_is_sha256 check (head_hash ~ '^[0-9a-f]{64}$')
);
comment on table app.hookify_chains is
'The head of each profile''s chain of decisions. Its row lock serialises concurrent decisions of the
profile. Its length and hash show whether the newest rows were deleted.';
comment on column app.hookify_chains.profile_id is 'The profile whose chain it is';
comment on column app.hookify_chains.length is 'How many decisions the chain has';
comment on column app.hookify_chains.head_hash is
'row_hash of the newest decision; 64 zeros before the first';
comment on constraint length_not_negative on app.hookify_chains is
'A chain has no negative length';
comment on constraint head_hash_is_sha256 on app.hookify_chains is
'head_hash must be a SHA-256 in 64 lowercase hexadecimal digits';

create table app.hookify_decisions (
  profile_id text not null default app.profile_id(),
  position bigint not null,
  id text not null default 'hook_' || app.uuidv7(),
  session_id text not null,
  source text not null,
  content_hash text not null,
  severity text not null,
  blocked boolean not null,
  rules jsonb not null,
  message text,
  annotations text,
  created_at timestamptz not null,
  previous_hash text not null,
  row_hash text not null,
  constraint position_unique unique (profile_id, position),
  constraint profile_id_length check (octet_length(profile_id) between 1 and 200),
  constraint id_length check (octet_length(id) between 1 and 200),
  constraint session_id_length check (octet_length(session_id) between 1 and 512),
  constraint source_known check (source in ('timeline', 'session', 'manual')),
  constraint content_hash_is_sha256 check (content_hash ~ '^[0-9a-f]{64}$'),
  constraint severity_known
  check (severity in ('none', 'info', 'low', 'medium', 'high', 'critical')),
  constraint rules_shape check (
    jsonb_typeof(rules) = 'array'
    -- Strict: a lax path would unwrap an array where an object is required.
    and not rules @? 'strict $[*] ? (@.type() != "object")'
    and not rules @? '$[*] ? (!(
      @.id.type() == "string"
      && @.severity.type() == "string"
      && (@.severity == "none" || @.severity == "info" || @.severity == "low"
        || @.severity == "medium" || @.severity == "high" || @.severity == "critical")
    ))'
  ),
  constraint rules_size check (octet_length(rules::text) <= 1048576),
  constraint message_size check (octet_length(message) <= 65536),
  constraint annotations_size check (octet_length(annotations) <= 1048576)
);
comment on table app.hookify_decisions is
'The decisions of hookify about pieces of content: an audit that is never changed.';
comment on column app.hookify_decisions.profile_id is 'The profile that the decision belongs to';
comment on column app.hookify_decisions.position is '1, 2, 3 … in the order made, per profile';
comment on column app.hookify_decisions.id is 'hook_<uuid>, given by the caller or generated';
comment on column app.hookify_decisions.session_id is 'The session; owned by another service';
comment on column app.hookify_decisions.source is 'timeline, session or manual';
comment on column app.hookify_decisions.content_hash is
'SHA-256 (hex) of the content as UTF-8; the content itself is not stored';
comment on column app.hookify_decisions.severity is 'none, info, low, medium, high or critical';
comment on column app.hookify_decisions.blocked is 'Whether the content was blocked';
comment on column app.hookify_decisions.rules is 'The rules that matched: [{id, severity}]';
comment on column app.hookify_decisions.message is 'The message that the user saw';
comment on column app.hookify_decisions.annotations is 'Notes, in Markdown';
comment on column app.hookify_decisions.created_at is 'When, by the database''s clock';
comment on column app.hookify_decisions.previous_hash is
'row_hash of the previous decision; 64 zeros for the first';
comment on column app.hookify_decisions.row_hash is
'SHA-256 (hex) of the other columns, including previous_hash';

comment on constraint profile_id_length on app.hookify_decisions is
'The profile id must have 1 to 200 bytes';
comment on constraint id_length on app.hookify_decisions is 'id must have 1 to 200 bytes';
comment on constraint session_id_length on app.hookify_decisions is
'session_id must have 1 to 512 bytes';
comment on constraint source_known on app.hookify_decisions is
'source must be timeline, session or manual';
comment on constraint content_hash_is_sha256 on app.hookify_decisions is
'content_hash must be a SHA-256 in 64 lowercase hexadecimal digits';
comment on constraint severity_known on app.hookify_decisions is
'severity must be none, info, low, medium, high or critical';
comment on constraint rules_shape on app.hookify_decisions is
'rules must be an array of {id, severity}, the severity one of none, info, low, medium, high, critical';
comment on constraint rules_size on app.hookify_decisions is 'rules may have 1 MiB at most';
comment on constraint message_size on app.hookify_decisions is 'message may have 64 KiB at most';
comment on constraint annotations_size on app.hookify_decisions is
'annotations may have 1 MiB at most';

-- GET /hookify_decisions?session_id=eq.S&order=position; the newest N of a profile use position_unique
create index hookify_decisions_by_session
on app.hookify_decisions (profile_id, session_id, position);
-- GET /hookify_decisions?order=created_at.desc as an auditor, over all profiles
create index hookify_decisions_by_time_of_all
on app.hookify_decisions (created_at, profile_id, position);
alter table app.hookify_decisions add primary key (profile_id, id);

-- This function is here and not in sql/app, because row_hash of every stored row was computed with it:
-- a changed body would make every chain invalid.
create function app.hookify_decision_hash(decision app.hookify_decisions) returns text
language sql
stable
security invoker
parallel safe
set search_path = ''
as $$
  select pg_catalog.encode(
    pg_catalog.sha256(
      pg_catalog.convert_to(
        pg_catalog.jsonb_build_array(
          decision.previous_hash,
          decision.profile_id,
          decision.position,
          decision.id,
          decision.session_id,
          decision.source,
          decision.content_hash,
          decision.severity,
          decision.blocked,
          decision.rules,
          decision.message,
          decision.annotations,
          pg_catalog.to_char(
            decision.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
          )
        )::text,
        'UTF8'
      )
    ),
    'hex'
  )
$$;
comment on function app.hookify_decision_hash(app.hookify_decisions) is
'SHA-256 (hex) over the columns of a decision and the hash of the previous one.
The columns are written as one JSON array, so that two different rows never have the same text.';
grant execute on function app.hookify_decision_hash(app.hookify_decisions)
to authenticated, auditor;

create trigger chain before insert on app.hookify_decisions
for each row execute function app.chain_hookify_decision();
-- The length of a chain only increases, by one per decision, and its head is never deleted.
create trigger append_only before delete or truncate on app.hookify_chains
for each statement execute function app.refuse_change();
create trigger forward_only before update on app.hookify_chains
for each row when (
  new.profile_id <> old.profile_id or new.length is distinct from old.length + 1
)
execute function app.refuse_change();
create trigger append_only before update or delete or truncate on app.hookify_decisions
for each statement execute function app.refuse_change();

alter table app.hookify_chains enable row level security;
create policy no_estimates on app.hookify_chains as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.hookify_chains for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.hookify_chains for select to auditor
using (true);

alter table app.hookify_decisions enable row level security;
create policy no_estimates on app.hookify_decisions as restrictive for select to authenticated, auditor
using (app.refuse_explain());
create policy select_own on app.hookify_decisions for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.hookify_decisions for select to auditor
using (true);
create policy insert_own on app.hookify_decisions for insert to authenticated
with check (profile_id = (select app.profile_id()));

grant select on app.hookify_chains to authenticated, auditor;
grant select on app.hookify_decisions to authenticated, auditor;
grant insert (
  id, session_id, source, content_hash, severity, blocked, rules, message, annotations
) on app.hookify_decisions to authenticated;
