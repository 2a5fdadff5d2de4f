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
'The audit of the decisions of hookify; never changed
List a session in the order made with ?session_id=eq.S&order=position. A profile sees its own
decisions, an auditor those of all profiles.';
comment on column api.hookify_decisions.profile_id is 'The profile that the decision belongs to';
comment on column api.hookify_decisions.position is
'1, 2, 3 … in the order made, over all the profile''s sessions';
comment on column api.hookify_decisions.id is 'The decision''s id, hook_<uuid>';
comment on column api.hookify_decisions.session_id is 'The session that the content belongs to';
comment on column api.hookify_decisions.source is
'Where the content came from: timeline, session or manual';
comment on column api.hookify_decisions.content_hash is
'SHA-256 (hex) of the content as UTF-8; the content itself is not stored';
comment on column api.hookify_decisions.severity is
'The highest severity that was found: none, info, low, medium, high or critical';
comment on column api.hookify_decisions.blocked is 'Whether the content was blocked';
comment on column api.hookify_decisions.rules is 'The rules that matched: an array of {id, severity}';
comment on column api.hookify_decisions.message is 'The message that the user saw, or null';
comment on column api.hookify_decisions.annotations is 'Notes in Markdown, or null';
comment on column api.hookify_decisions.created_at is 'When the decision was recorded';
comment on column api.hookify_decisions.previous_hash is
'row_hash of the profile''s previous decision; 64 zeros for the first';
comment on column api.hookify_decisions.row_hash is
'SHA-256 (hex) over the decision and previous_hash';
grant select on api.hookify_decisions to authenticated, auditor;

create or replace function api.record_hookify_decision(
  session_id text default null,
  source text default null,
  severity text default null,
  blocked boolean default null,
  rules jsonb default null,
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
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  decision_id constant text := coalesce(record_hookify_decision.id, 'hook_' || app.uuidv7());
  given_hash text := record_hookify_decision.content_hash;
  kept_rules jsonb := record_hookify_decision.rules;
  differing text[];
  answer api.hookify_decisions;
  violation app.violation;
begin
  perform app.limit_depth('rules', record_hookify_decision.rules);
  if (record_hookify_decision.content is null) = (given_hash is null) then
    perform app.raise_error(
      400, 'invalid_argument', 'Give either content or content_hash',
      pg_catalog.jsonb_build_object('field', 'content'),
      'content is hashed and not stored; content_hash is its SHA-256 in lowercase hexadecimal'
    );
  end if;
  given_hash := coalesce(
    given_hash,
    pg_catalog.encode(
      pg_catalog.sha256(pg_catalog.convert_to(record_hookify_decision.content, 'UTF8')), 'hex'
    )
  );
  -- Only these two keys of each rule are stored. An element that is not an object is left unchanged: a
  -- CHECK refuses it.
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
        violation.table_name = table_name,
        violation.constraint_name = constraint_name,
        violation.column_name = column_name;
      perform app.refuse_row(violation);
    when unique_violation then
      perform app.mark_unchanged();
      -- The exception has rolled back the trigger's change of the chain's head. ON CONFLICT DO NOTHING
      -- would not undo it, and the head would be ahead of the rows.
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
      into differing
      from app.hookify_decisions as stored
      where stored.profile_id = me and stored.id = decision_id;
      if not found then
        -- No row has the id, so another row has the position.
        perform app.raise_error(
          500, 'chain_broken',
          'The profile''s chain of decisions was changed outside the API; nothing was recorded',
          null, 'Report it to the operator of the database; verify_hookify_decisions returns the position'
        );
      end if;
      if pg_catalog.cardinality(differing) > 0 then
        perform app.raise_error(
          409, 'id_taken',
          pg_catalog.format(
            'Hookify decision %s is already recorded with other content', decision_id
          ),
          pg_catalog.jsonb_build_object('id', decision_id, 'differs', differing),
          'Use another id, or omit it: then one is generated'
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
'Record a decision of hookify about a piece of content
Send the content, which is hashed and not stored, or its content_hash. Only id and severity of each
rule are stored. A repeated call with the same id and content returns the stored decision; other content
under the same id is refused with 409 id_taken.

- session_id: Required. The session that the content belongs to
- source: Required. Where the content came from: timeline, session or manual
- severity: Required. none, info, low, medium, high or critical
- blocked: Required. Whether the content was blocked
- rules: Required. The rules that matched: an array of {id, severity}
- content: The content that was checked; hashed, not stored. Send it or content_hash';
grant execute on function api.record_hookify_decision(
  text, text, text, boolean, jsonb, text, text, text, text, text
) to authenticated;

create or replace function api.verify_hookify_decisions(
  inout profile_id text default null,
  in from_position bigint default 1,
  in max_decisions bigint default 100000,
  out valid boolean,
  out checked bigint,
  out length bigint,
  out head_hash text,
  out next_position bigint,
  out first_bad_position bigint,
  out first_bad_id text,
  out problem text,
  out erased_at timestamptz,
  out erased_decisions bigint,
  out imported_at timestamptz
) returns setof record
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  -- The parameter is also a column of the result.
  wanted text := verify_hookify_decisions.profile_id;
  remaining bigint := coalesce(verify_hookify_decisions.max_decisions, 100000);
  start_position constant bigint := coalesce(verify_hookify_decisions.from_position, 1);
  current_profile text := '';
  is_known boolean := false;
  result record;
  erasure app.profile_log;
  imported app.profile_log;
begin
  if current_user = 'authenticated' then
    if wanted <> app.profile_id() then
      perform app.raise_error(
        400, 'invalid_argument', 'A profile can verify its own decisions only',
        pg_catalog.jsonb_build_object('field', 'profile_id'),
        'Omit profile_id, or use a token with the role auditor'
      );
    end if;
    wanted := app.profile_id();
  end if;
  if start_position < 1 or (wanted is null and start_position > 1) then
    perform app.raise_error(
      400, 'invalid_argument', 'from_position must be at least 1, and 1 without a profile_id',
      pg_catalog.jsonb_build_object('field', 'from_position')
    );
  elsif remaining not between 1 and 1000000 then
    perform app.raise_error(
      400, 'invalid_argument', 'max_decisions must be between 1 and 1000000',
      pg_catalog.jsonb_build_object('field', 'max_decisions')
    );
  end if;

  loop
    -- A profile is known if it has a head or a decision, or was erased, or was imported with decisions.
    -- All are read to report a missing head.
    if wanted is null then
      select pg_catalog.min(found.profile_id) into current_profile
      from (
        (
          select head.profile_id
          from app.hookify_chains as head
          where head.profile_id > current_profile
          order by head.profile_id
          limit 1
        )
        union all
        (
          select decision.profile_id
          from app.hookify_decisions as decision
          where decision.profile_id > current_profile
          order by decision.profile_id
          limit 1
        )
        union all
        (
          select entry.profile_id
          from app.profile_log as entry
          where entry.profile_id > current_profile
            and (entry.action = 'erase' or entry.chain_length > 0)
          order by entry.profile_id
          limit 1
        )
      ) as found;
    else
      -- One query for both cases would read the rows of all profiles: its generic plan can't use
      -- an index for "wanted is null or profile_id = wanted".
      exit when is_known;
      current_profile := case
        when exists (
          select from app.hookify_chains as head where head.profile_id = wanted
        ) or exists (
          select from app.hookify_decisions as decision where decision.profile_id = wanted
        ) or exists (
          select
          from app.profile_log as entry
          where entry.profile_id = wanted and (entry.action = 'erase' or entry.chain_length > 0)
        ) then wanted
      end;
    end if;
    exit when current_profile is null;
    is_known := true;

    select * into erasure
    from app.profile_log as entry
    where entry.profile_id = current_profile and entry.action = 'erase'
    order by entry.number desc
    limit 1;
    erased_at := erasure.done_at;
    erased_decisions := erasure.chain_length;
    select * into imported
    from app.profile_log as entry
    where entry.profile_id = current_profile
      and entry.action = 'import'
      and entry.number > coalesce(erasure.number, 0)
    order by entry.number desc
    limit 1;
    imported_at := imported.done_at;

    select * into result
    from app.verify_hookify_chain(current_profile, start_position, remaining);
    -- The imported decisions must still be there.
    if result.problem is null
      and imported.chain_length >= start_position
      and (result.next_position is null or imported.chain_length < result.next_position)
      and not exists (
        select
        from app.hookify_decisions as decision
        where decision.profile_id = current_profile
          and decision.position = imported.chain_length
          and decision.row_hash = imported.chain_head_hash
      ) then
      result.valid := false;
      result.next_position := null;
      result.first_bad_position := imported.chain_length;
      result.problem := 'the decision is not the one that was imported';
    end if;
    -- An erased profile that has recorded or imported no decision since has no chain: it is neither
    -- valid nor broken.
    if erased_at is not null and coalesce(imported.chain_length, 0) = 0 and result.first_bad_position = 1 and result.length = 0
      and not exists (
        select from app.hookify_chains as head where head.profile_id = current_profile
      ) and not exists (
        select from app.hookify_decisions as decision where decision.profile_id = current_profile
      ) then
      result.valid := null;
      result.first_bad_position := null;
      result.problem := null;
    end if;
    if start_position > greatest(result.length, 1) and result.checked = 0
      and (result.valid or result.next_position is null and result.problem is null) then
      perform app.raise_error(
        400, 'invalid_argument', 'from_position is after the last decision; nothing was verified',
        pg_catalog.jsonb_build_object('field', 'from_position')
      );
    end if;
    remaining := remaining - result.checked;
    profile_id := result.profile_id;
    valid := result.valid;
    checked := result.checked;
    length := result.length;
    head_hash := result.head_hash;
    next_position := result.next_position;
    first_bad_position := result.first_bad_position;
    first_bad_id := result.first_bad_id;
    problem := result.problem;
    return next;
  end loop;

  if wanted is not null and not is_known then
    perform app.raise_error(
      404, 'not_found', 'No decisions are recorded for profile ' || wanted,
      pg_catalog.jsonb_build_object('profile_id', wanted),
      'A chain that was deleted with its head is found by: sessionbase audit verify --checkpoint'
    );
  end if;
end
$$;
comment on function api.verify_hookify_decisions(text, bigint, bigint) is
'Verify that no decision of a profile was changed, deleted or moved
Returns an array of one object per profile: of the token''s profile, or for an auditor without
profile_id of every profile. A call verifies max_decisions decisions at most. If a chain is longer,
valid is null and next_position is the position to continue at. If the profile was erased, erased_at
is set, and valid is null until it records a decision again. An unknown profile is refused with 404.

- profile_id: The profile to verify; null: the profile of the token, for an auditor all profiles
- from_position: The position to start at; for one profile only
- max_decisions: The maximum number of decisions to verify, up to 1000000
- valid: Whether all decisions from from_position on are as recorded; null: the end was not reached, or none is left
- checked: The number of decisions that were verified
- length: The number of decisions that were recorded
- head_hash: row_hash of the decision that was recorded last
- next_position: The position to continue at; null if the end of the chain was reached
- first_bad_position: The position of the first decision that does not fit; null if all fit
- first_bad_id: Its id; null if all fit, or if it is missing at the end
- problem: A description of the problem; null if all fit
- erased_at: When an operator last erased the profile; the chain starts again after it. Null: never
- erased_decisions: The number of decisions that were erased then
- imported_at: When the chain was imported from another database; null if it was recorded here';
grant execute on function api.verify_hookify_decisions(text, bigint, bigint)
to authenticated, auditor;
