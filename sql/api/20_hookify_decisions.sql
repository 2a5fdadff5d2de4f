-- Domain 2: hookify decisions.

create or replace view api.hookify_decisions
with (security_invoker = true) as
select
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
  decision.created_at,
  decision.previous_hash,
  decision.row_hash
from app.hookify_decisions as decision;

comment on view api.hookify_decisions is
'The audit of what hookify decided; never changed
List a session in the order made with ?session_id=eq.S&order=position. A profile sees its own
decisions, an auditor everybody''s.';
comment on column api.hookify_decisions.profile_id is 'The profile that the decision belongs to';
comment on column api.hookify_decisions.position is
'1, 2, 3 … in the order made, over all the profile''s sessions';
comment on column api.hookify_decisions.id is 'The decision''s id, hook_<uuid>';
comment on column api.hookify_decisions.session_id is 'The session that the content belongs to';
comment on column api.hookify_decisions.source is
'Where the content came from: timeline, session or manual';
comment on column api.hookify_decisions.content_hash is
'SHA-256 (hex) of the content as UTF-8; the content itself is not kept';
comment on column api.hookify_decisions.severity is
'The gravest finding: none, info, low, medium, high or critical';
comment on column api.hookify_decisions.blocked is 'Whether the content was blocked';
comment on column api.hookify_decisions.rules is 'The rules that matched: an array of {id, severity}';
comment on column api.hookify_decisions.message is 'What the user was told, or null';
comment on column api.hookify_decisions.annotations is 'Notes in Markdown, or null';
comment on column api.hookify_decisions.created_at is 'When the decision was recorded';
comment on column api.hookify_decisions.previous_hash is
'row_hash of the profile''s decision before; 64 zeros for the first';
comment on column api.hookify_decisions.row_hash is
'SHA-256 (hex) over the decision and previous_hash: a link of the chain';
grant select on api.hookify_decisions to authenticated, auditor;

create or replace function api.record_hookify_decision(
  session_id text,
  source text,
  severity text,
  blocked boolean,
  rules jsonb,
  content text default null,
  content_hash text default null,
  message text default null,
  annotations text default null,
  id text default null
) returns api.hookify_decisions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  decision_id constant text := coalesce(record_hookify_decision.id, 'hook_' || pg_catalog.uuidv7());
  given_hash text := record_hookify_decision.content_hash;
  kept_rules jsonb := record_hookify_decision.rules;
  differing text[];
  answer api.hookify_decisions;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  if (record_hookify_decision.content is null) = (given_hash is null) then
    perform app.raise_error(
      400, 'invalid_argument', 'Give either content or content_hash',
      pg_catalog.jsonb_build_object('field', 'content'),
      'content is hashed and not kept; content_hash is its SHA-256 in lowercase hexadecimal'
    );
  end if;
  given_hash := coalesce(
    given_hash,
    pg_catalog.encode(
      pg_catalog.sha256(pg_catalog.convert_to(record_hookify_decision.content, 'UTF8')), 'hex'
    )
  );
  -- Of each rule only these two keys are kept; what is no rule stays, for the CHECK to refuse.
  if pg_catalog.jsonb_typeof(kept_rules) = 'array' then
    select coalesce(
      pg_catalog.jsonb_agg(
        case
          when pg_catalog.jsonb_typeof(rule.value) = 'object' then
            pg_catalog.jsonb_build_object(
              'id', rule.value -> 'id', 'severity', rule.value -> 'severity'
            )
          else rule.value
        end
        order by rule.ordinality
      ),
      '[]'
    )
    into kept_rules
    from pg_catalog.jsonb_array_elements(kept_rules) with ordinality as rule;
  end if;

  begin
    insert into app.hookify_decisions (
      id, session_id, source, content_hash, severity, blocked, rules, message, annotations
    )
    values (
      decision_id, record_hookify_decision.session_id, record_hookify_decision.source, given_hash,
      record_hookify_decision.severity, record_hookify_decision.blocked, kept_rules,
      record_hookify_decision.message, record_hookify_decision.annotations
    );
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
    when unique_violation then
      get stacked diagnostics violated_constraint = constraint_name;
      if violated_constraint = 'position_unique' then
        perform app.raise_error(
          500, 'chain_broken',
          'The profile''s chain of decisions was changed outside the API; nothing was recorded',
          null, 'Ask whoever runs the database; verify_hookify_decisions tells where it breaks'
        );
      end if;
      perform pg_catalog.set_config('sessionbase.unchanged', 'true', true);
      -- The chain's end, moved by the trigger, has gone back with this block. ON CONFLICT DO
      -- NOTHING would have left it ahead of the rows.
      select pg_catalog.array_remove(array[
        case when stored.session_id <> record_hookify_decision.session_id then 'session_id' end,
        case when stored.source <> record_hookify_decision.source then 'source' end,
        case when stored.content_hash <> given_hash then 'content_hash' end,
        case when stored.severity <> record_hookify_decision.severity then 'severity' end,
        case when stored.blocked <> record_hookify_decision.blocked then 'blocked' end,
        case when stored.rules <> kept_rules then 'rules' end,
        case
          when stored.message is distinct from record_hookify_decision.message then 'message'
        end,
        case
          when stored.annotations is distinct from record_hookify_decision.annotations
            then 'annotations'
        end
      ], null)
      into strict differing
      from app.hookify_decisions as stored
      where stored.profile_id = me and stored.id = decision_id;
      if pg_catalog.cardinality(differing) > 0 then
        perform app.raise_error(
          409, 'id_taken',
          pg_catalog.format(
            'Hookify decision %s is already recorded with other content', decision_id
          ),
          pg_catalog.jsonb_build_object('id', decision_id, 'differs', differing),
          'Use another id, or leave it out to have one made'
        );
      end if;
  end;

  select * into strict answer
  from api.hookify_decisions as decision
  where decision.profile_id = me and decision.id = decision_id;
  return answer;
end
$$;
comment on function api.record_hookify_decision(
  text, text, text, boolean, jsonb, text, text, text, text, text
) is
'Record what hookify decided about a piece of content
Give the content, which is hashed and not kept, or its content_hash. Of each rule only id and severity
are kept. Repeating the call with the same id and content gives the stored decision again; other
content under the same id is refused with 409 id_taken.

- content: The content that was checked; hashed, not kept. Give it or content_hash';
grant execute on function api.record_hookify_decision(
  text, text, text, boolean, jsonb, text, text, text, text, text
) to authenticated;

create or replace function api.verify_hookify_decisions(
  inout profile_id text default null,
  out valid boolean,
  out checked bigint,
  out head_hash text,
  out first_bad_position bigint,
  out first_bad_id text,
  out problem text
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  chain app.hookify_chains;
  -- The parameter is also a column of the answer.
  wanted constant text := verify_hookify_decisions.profile_id;
begin
  if current_user = 'authenticated' and wanted is distinct from null
    and wanted <> app.profile_id() then
    perform app.raise_error(
      400, 'invalid_argument', 'A profile can verify its own decisions only',
      pg_catalog.jsonb_build_object('field', 'profile_id'),
      'Leave profile_id out, or use a token with the role auditor'
    );
  end if;
  verify_hookify_decisions.profile_id := coalesce(wanted, app.profile_id());

  select * into chain
  from app.hookify_chains as stored
  where stored.profile_id = verify_hookify_decisions.profile_id;
  if not found then
    chain.length := 0;
    chain.head_hash := pg_catalog.repeat('0', 64);
  end if;

  select
    link.position,
    link.id,
    case
      when link.position <> link.expected_position then pg_catalog.format(
        'decision %s of the chain is missing or out of place', link.expected_position
      )
      when link.row_hash <> link.expected_hash then 'the row was changed after it was recorded'
      else 'the row does not follow from the one before it'
    end
  into first_bad_position, first_bad_id, problem
  from (
    select
      decision.position,
      decision.id,
      decision.row_hash,
      decision.previous_hash,
      pg_catalog.row_number() over in_order as expected_position,
      app.hookify_decision_hash(decision) as expected_hash,
      pg_catalog.lag(decision.row_hash, 1, pg_catalog.repeat('0', 64)) over in_order
        as expected_previous_hash
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_decisions.profile_id
    window in_order as (order by decision.position)
  ) as link
  where link.position <> link.expected_position
    or link.row_hash <> link.expected_hash
    or link.previous_hash <> link.expected_previous_hash
  order by link.position
  limit 1;

  select
    pg_catalog.count(*),
    (pg_catalog.array_agg(decision.row_hash order by decision.position desc))[1]
  into checked, head_hash
  from app.hookify_decisions as decision
  where decision.profile_id = verify_hookify_decisions.profile_id;
  head_hash := coalesce(head_hash, pg_catalog.repeat('0', 64));

  if problem is null and checked <> chain.length then
    first_bad_position := checked + 1;
    problem := pg_catalog.format(
      'the chain ends after %s decisions, but %s were recorded', checked, chain.length
    );
  elsif problem is null and head_hash <> chain.head_hash then
    first_bad_position := checked;
    problem := 'the newest row is not the one that was recorded last';
  end if;
  valid := problem is null;
end
$$;
comment on function api.verify_hookify_decisions(text) is
'Check that no decision of a profile was changed, removed or moved
Walks the profile''s hash chain and names the first row that does not fit. Without profile_id: the
profile of the token; an auditor may name any. Keep head_hash elsewhere to notice even a chain that
was rewritten from start to end.

- profile_id: Whose decisions; null: the token''s profile
- valid: Whether all is as it was recorded
- checked: How many decisions were looked at
- head_hash: row_hash of the newest one; 64 zeros where there is none
- first_bad_position: Where in the chain the first one is that does not fit; null if all do
- first_bad_id: Its id; null if all fit, or if it is missing at the end
- problem: What is wrong with it, in words; null if all fit';
grant execute on function api.verify_hookify_decisions(text) to authenticated, auditor;
