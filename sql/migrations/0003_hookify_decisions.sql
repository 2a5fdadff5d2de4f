-- Domain 2: the audit of hookify decisions: append-only, and a hash chain a profile.

create table app.hookify_chains (
  profile_id text primary key,
  length bigint not null default 0,
  head_hash text not null default repeat('0', 64),
  constraint length_not_negative check (length >= 0),
  constraint head_hash_is_sha256 check (head_hash ~ '^[0-9a-f]{64}$')
);
comment on table app.hookify_chains is
'The end of each profile''s chain of decisions. Its row lock puts concurrent decisions in one order;
its length and hash show that the newest rows were not cut off.';
comment on column app.hookify_chains.profile_id is 'The profile whose chain it is';
comment on column app.hookify_chains.length is 'How many decisions the chain has';
comment on column app.hookify_chains.head_hash is
'row_hash of the newest decision; 64 zeros before the first';

create table app.hookify_decisions (
  profile_id text not null default app.profile_id(),
  position bigint not null,
  id text not null default 'hook_' || uuidv7(),
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
  primary key (profile_id, id),
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
    -- Strict, because a lax path looks into an array where it should find an object.
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
'What hookify decided about a piece of content: an audit that is never changed.';
comment on column app.hookify_decisions.profile_id is 'The profile that the decision belongs to';
comment on column app.hookify_decisions.position is '1, 2, 3 … in the order made, per profile';
comment on column app.hookify_decisions.id is 'hook_<uuid>, given by the caller or made here';
comment on column app.hookify_decisions.session_id is 'The session; owned by another service';
comment on column app.hookify_decisions.source is 'timeline, session or manual';
comment on column app.hookify_decisions.content_hash is
'SHA-256 (hex) of the content as UTF-8; the content itself is not kept';
comment on column app.hookify_decisions.severity is 'none, info, low, medium, high or critical';
comment on column app.hookify_decisions.blocked is 'Whether the content was blocked';
comment on column app.hookify_decisions.rules is 'The rules that matched: [{id, severity}]';
comment on column app.hookify_decisions.message is 'What the user was told';
comment on column app.hookify_decisions.annotations is 'Notes, in Markdown';
comment on column app.hookify_decisions.created_at is 'When, by the database''s clock';
comment on column app.hookify_decisions.previous_hash is
'row_hash of the decision before; 64 zeros for the first';
comment on column app.hookify_decisions.row_hash is
'SHA-256 (hex) of the other columns, previous_hash among them';

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

create index hookify_decisions_by_session
on app.hookify_decisions (profile_id, session_id, position);

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
'SHA-256 (hex) over a decision''s columns and the hash of the one before it: the link of the chain.
The columns go in as one JSON array, so that no two rows can give the same text.';
grant execute on function app.hookify_decision_hash(app.hookify_decisions)
to authenticated, auditor;

create function app.chain_hookify_decision() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  chain app.hookify_chains;
begin
  -- Concurrent decisions of the profile wait here for each other.
  loop
    select * into chain
    from app.hookify_chains as stored
    where stored.profile_id = new.profile_id
    for update;
    exit when found;
    insert into app.hookify_chains (profile_id)
    values (new.profile_id)
    on conflict (profile_id) do nothing;
  end loop;

  new.position := chain.length + 1;
  new.previous_hash := chain.head_hash;
  new.created_at := pg_catalog.clock_timestamp();
  new.row_hash := app.hookify_decision_hash(new);

  update app.hookify_chains as stored
  set length = new.position, head_hash = new.row_hash
  where stored.profile_id = new.profile_id;
  return new;
end
$$;
comment on function app.chain_hookify_decision() is
'Trigger: gives a new decision its place in the profile''s chain.
SECURITY DEFINER so that no client role may write the chain''s end.';

create trigger chain before insert on app.hookify_decisions
for each row execute function app.chain_hookify_decision();
create trigger append_only before update or delete or truncate on app.hookify_decisions
for each statement execute function app.refuse_change();

alter table app.hookify_chains enable row level security;
create policy select_own on app.hookify_chains for select to authenticated
using (profile_id = (select app.profile_id()));
create policy select_all on app.hookify_chains for select to auditor
using (true);

alter table app.hookify_decisions enable row level security;
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
