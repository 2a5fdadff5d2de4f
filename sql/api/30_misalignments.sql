-- Domain 3: misalignments.

create or replace view api.misalignments
with (security_invoker = true) as
select
  misalignment.id,
  misalignment.session_id,
  misalignment.rule_id,
  misalignment.title,
  misalignment.summary,
  misalignment.severity,
  misalignment.status,
  misalignment.previous_status,
  misalignment.event_range,
  misalignment.evidence,
  misalignment.created_at,
  misalignment.updated_at
from app.misalignments as misalignment;

comment on view api.misalignments is
'The violations of rules in a session, and their review status
List a session in the app''s order with ?session_id=eq.S&order=created_at,id; add
&status=neq.dismissed for what the chat prompt uses.';
comment on column api.misalignments.id is
'The misalignment''s id within its session, mis-<session_id>-<rule_id>';
comment on column api.misalignments.session_id is 'The session in which the rule was violated';
comment on column api.misalignments.rule_id is 'The rule that was violated';
comment on column api.misalignments.title is 'A heading';
comment on column api.misalignments.summary is 'What happened';
comment on column api.misalignments.severity is 'info, low, medium, high or critical';
comment on column api.misalignments.status is 'open, acknowledged or dismissed';
comment on column api.misalignments.previous_status is
'The status before the last transition; null before the first';
comment on column api.misalignments.event_range is
'Where in the timeline: {startIndex, endIndex, startAt, endAt}, or null';
comment on column api.misalignments.evidence is
'The evidence: an array of {message, eventIndex?, eventId?, highlight?}';
comment on column api.misalignments.created_at is 'When it was first found';
comment on column api.misalignments.updated_at is 'When its content or status last changed';
grant select on api.misalignments to authenticated;

create or replace view api.misalignment_transitions
with (security_invoker = true) as
select
  entry.profile_id,
  entry.session_id,
  entry.misalignment_id,
  entry.number,
  entry.from_status,
  entry.to_status,
  entry.changed_at,
  entry.changed_by
from app.misalignment_transitions as entry;

comment on view api.misalignment_transitions is
'The log of status transitions of misalignments
A profile sees its own, an auditor those of all profiles.';
comment on column api.misalignment_transitions.profile_id is
'The profile that the misalignment belongs to';
comment on column api.misalignment_transitions.session_id is
'The session that the misalignment belongs to';
comment on column api.misalignment_transitions.misalignment_id is 'The misalignment';
comment on column api.misalignment_transitions.number is
'1, 2, 3 … for each misalignment, in the order made';
comment on column api.misalignment_transitions.from_status is
'The status before; null at the start';
comment on column api.misalignment_transitions.to_status is 'The status entered';
comment on column api.misalignment_transitions.changed_at is 'When';
comment on column api.misalignment_transitions.changed_by is 'Who: a profile or a database login';
grant select on api.misalignment_transitions to authenticated, auditor;

create or replace function api.ingest_misalignments(
  session_id text default null, candidates jsonb default null
)
returns setof api.misalignments
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  candidate jsonb;
  candidate_id text;
  number integer := -1;
  ids text[] := '{}';
  changed boolean := false;
  mistyped text;
  violation app.violation;
begin
  perform app.require_argument('session_id', ingest_misalignments.session_id is not null);
  if pg_catalog.jsonb_typeof(ingest_misalignments.candidates) is distinct from 'array' then
    perform app.raise_error(
      400, 'invalid_argument', 'candidates must be an array',
      pg_catalog.jsonb_build_object('field', 'candidates')
    );
  end if;
  perform app.limit_depth('candidates', ingest_misalignments.candidates);
  if pg_catalog.jsonb_array_length(ingest_misalignments.candidates) > 500 then
    perform app.raise_error(
      413, 'payload_too_large', 'candidates may have 500 records at most',
      pg_catalog.jsonb_build_object('field', 'candidates'), 'Send them in several calls'
    );
  end if;

  -- One batch per session at a time. A batch locks its rows in the order of the candidates, which is
  -- the order of created_at; without this lock two batches in different orders could deadlock.
  -- Batches of different sessions lock different rows.
  perform pg_catalog.pg_advisory_xact_lock(
    app.lock_key('misalignments', me, ingest_misalignments.session_id)
  );

  begin
    for candidate in
      select element.value
      from pg_catalog.jsonb_array_elements(ingest_misalignments.candidates) as element
    loop
      number := number + 1;
      if pg_catalog.jsonb_typeof(candidate) <> 'object' then
        perform app.raise_error(
          400, 'invalid_argument', pg_catalog.format('Candidate %s is not an object', number),
          pg_catalog.jsonb_build_object('index', number, 'field', null)
        );
      end if;
      -- The operator ->> would convert a number or an object to text.
      mistyped := pg_catalog.jsonb_path_query_first(
        candidate,
        '$.keyvalue() ? (
          (@.key == "id" || @.key == "rule_id" || @.key == "title" || @.key == "summary"
            || @.key == "severity" || @.key == "status")
          && @.value.type() != "string" && @.value.type() != "null"
        )'
      ) ->> 'key';
      if mistyped is not null then
        perform app.raise_error(
          400, 'invalid_argument',
          pg_catalog.format('Candidate %s: %s must be a text', number, mistyped),
          pg_catalog.jsonb_build_object('index', number, 'field', mistyped)
        );
      end if;

      candidate_id := coalesce(
        candidate ->> 'id',
        -- concat ignores a missing rule_id, so that the error names rule_id and not id.
        pg_catalog.concat('mis-', ingest_misalignments.session_id, '-', candidate ->> 'rule_id')
      );
      insert into app.misalignments as stored (
        session_id, id, rule_id, title, summary, severity, status, event_range, evidence
      )
      values (
        ingest_misalignments.session_id,
        candidate_id,
        candidate ->> 'rule_id',
        candidate ->> 'title',
        candidate ->> 'summary',
        coalesce(candidate ->> 'severity', 'medium'),
        coalesce(candidate ->> 'status', 'open'),
        nullif(candidate -> 'event_range', 'null'),
        coalesce(nullif(candidate -> 'evidence', 'null'), '[]')
      )
      on conflict (profile_id, session_id, id) do update
      set
        title = excluded.title,
        summary = excluded.summary,
        severity = excluded.severity,
        event_range = excluded.event_range,
        evidence = excluded.evidence
      where (stored.title, stored.summary, stored.severity, stored.event_range, stored.evidence)
        is distinct from (
          excluded.title, excluded.summary, excluded.severity, excluded.event_range,
          excluded.evidence
        );
      changed := changed or found;
      ids := ids || candidate_id;
    end loop;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violation.table_name = table_name,
        violation.constraint_name = constraint_name,
        violation.column_name = column_name;
      perform app.refuse_row(violation, pg_catalog.jsonb_build_object('index', number));
  end;

  if not changed then
    perform app.mark_unchanged();
  end if;
  return query
  select misalignment.*
  from api.misalignments as misalignment
  where misalignment.session_id = ingest_misalignments.session_id
    and misalignment.id = any(ids)
  order by misalignment.created_at, misalignment.id;
end
$$;
comment on function api.ingest_misalignments(text, jsonb) is
'Store what a detector found in a session: all candidates or none
candidates is an array of up to 500 {id?, rule_id, title, summary, severity?, status?, event_range?,
evidence?}. New ones are inserted, with their status; of known ones title, summary, severity,
event_range and evidence are updated, and never the status. An invalid candidate refuses the whole
batch; details name its index and field. Returns the stored records.

- session_id: Required. The session
- candidates: Required. The array described above';
grant execute on function api.ingest_misalignments(text, jsonb) to authenticated;

create or replace function api.transition_misalignment(
  session_id text default null,
  id text default null,
  to_status text default null,
  expected_status text default null
) returns api.misalignments
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  stored_status text;
  answer api.misalignments;
begin
  perform app.require_argument('session_id', transition_misalignment.session_id is not null);
  perform app.require_argument('id', transition_misalignment.id is not null);
  if app.is_legal_misalignment_transition(null, transition_misalignment.to_status) is not true then
    perform app.raise_error(
      400, 'invalid_argument',
      'Invalid misalignment status: ' || coalesce(transition_misalignment.to_status, 'null'),
      pg_catalog.jsonb_build_object('field', 'to_status')
    );
  end if;

  loop
    update app.misalignments as misalignment
    set status = transition_misalignment.to_status
    where misalignment.profile_id = me
      and misalignment.session_id = transition_misalignment.session_id
      and misalignment.id = transition_misalignment.id
      and misalignment.status <> transition_misalignment.to_status
      and misalignment.status = coalesce(
        transition_misalignment.expected_status, misalignment.status
      );
    exit when found;

    -- No row was updated: lock the row to find out why.
    select misalignment.status into stored_status
    from app.misalignments as misalignment
    where misalignment.profile_id = me
      and misalignment.session_id = transition_misalignment.session_id
      and misalignment.id = transition_misalignment.id
    for update;
    if not found then
      perform app.raise_error(
        404, 'not_found', 'Misalignment not found',
        pg_catalog.jsonb_build_object(
          'session_id', transition_misalignment.session_id, 'id', transition_misalignment.id
        )
      );
    elsif stored_status = transition_misalignment.to_status
      or stored_status <> transition_misalignment.expected_status then
      perform app.raise_error(
        409, 'illegal_transition',
        pg_catalog.format(
          'Cannot transition misalignment from %s to %s',
          stored_status, transition_misalignment.to_status
        ),
        pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
          'from', stored_status,
          'to', transition_misalignment.to_status,
          'expected', transition_misalignment.expected_status
        ))
      );
    end if;
    -- It was inserted, or got the expected status, between the two statements: try again, locked.
  end loop;

  select * into strict answer
  from api.misalignments as misalignment
  where misalignment.session_id = transition_misalignment.session_id
    and misalignment.id = transition_misalignment.id;
  return answer;
end
$$;
comment on function api.transition_misalignment(text, text, text, text) is
'Acknowledge, dismiss or re-open a misalignment
Legal: open to acknowledged, dismissed; acknowledged to dismissed, open; dismissed to acknowledged,
open. Anything else is refused with 409 illegal_transition. With expected_status, only if the stored
status is that one. previous_status of the result is the status before.

- session_id: Required. The session
- id: Required. The misalignment
- to_status: Required. The status to enter: open, acknowledged or dismissed
- expected_status: Change only if the stored status is this one; null: any status';
grant execute on function api.transition_misalignment(text, text, text, text) to authenticated;
