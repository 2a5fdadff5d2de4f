-- Name: api; Type: SCHEMA; Schema: -; Owner: sessionbase_owner

CREATE SCHEMA api;

ALTER SCHEMA api OWNER TO sessionbase_owner;

-- Name: SCHEMA api; Type: COMMENT; Schema: -; Owner: sessionbase_owner

COMMENT ON SCHEMA api IS 'sessionbase
The records of an AI-session viewer: tool events, decisions, misalignments, todos, repo bindings and
UI settings. Send a JWT whose claims are "role" and "sub" (the profile) as "Authorization: Bearer".';

-- Name: app; Type: SCHEMA; Schema: -; Owner: sessionbase_owner

CREATE SCHEMA app;

ALTER SCHEMA app OWNER TO sessionbase_owner;

-- Name: SCHEMA app; Type: COMMENT; Schema: -; Owner: sessionbase_owner

COMMENT ON SCHEMA app IS 'The data of sessionbase: tables, constraints, policies, triggers. Not exposed over HTTP.';

-- Name: ops; Type: SCHEMA; Schema: -; Owner: sessionbase_owner

CREATE SCHEMA ops;

ALTER SCHEMA ops OWNER TO sessionbase_owner;

-- Name: SCHEMA ops; Type: COMMENT; Schema: -; Owner: sessionbase_owner

COMMENT ON SCHEMA ops IS 'How this database was made: the migration ledger.';

-- Name: assert_check(boolean, text, text); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.assert_check(holds boolean, table_name text, constraint_name text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
  if not assert_check.holds then
    perform app.refuse_row(assert_check.table_name, assert_check.constraint_name, '');
  end if;
  return true;
end
$$;

ALTER FUNCTION app.assert_check(holds boolean, table_name text, constraint_name text) OWNER TO sessionbase_owner;

-- Name: FUNCTION assert_check(holds boolean, table_name text, constraint_name text); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.assert_check(holds boolean, table_name text, constraint_name text) IS 'For the CHECKs of a table that clients write without a function: refuses a row in the words of the
constraint, as the functions of the other tables do.';

-- Name: profile_id(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.profile_id() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  subject text := nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub';
begin
  if subject is null or subject = '' then
    perform app.raise_error(
      401, 'no_profile', 'The token names no profile', null,
      'Send a JWT whose claim "sub" is the profile id'
    );
  end if;
  return subject;
end
$$;

ALTER FUNCTION app.profile_id() OWNER TO sessionbase_owner;

-- Name: FUNCTION profile_id(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.profile_id() IS 'The profile that the request acts for: the claim "sub" of its token. 401 no_profile without one.
Policies use it as (select app.profile_id()), so that it is evaluated once a statement.';

-- Name: todos; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.todos (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    text text NOT NULL,
    completed boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT text_not_blank CHECK (app.assert_check((btrim(text, ' 	

                 　﻿'::text) <> ''::text), 'todos'::text, 'text_not_blank'::text)),
    CONSTRAINT text_size CHECK (app.assert_check((octet_length(text) <= 65536), 'todos'::text, 'text_size'::text))
);
ALTER TABLE ONLY app.todos ALTER COLUMN id SET STATISTICS 0;
ALTER TABLE ONLY app.todos ALTER COLUMN text SET STATISTICS 0;
ALTER TABLE ONLY app.todos ALTER COLUMN completed SET STATISTICS 0;
ALTER TABLE ONLY app.todos ALTER COLUMN created_at SET STATISTICS 0;

ALTER TABLE ONLY app.todos REPLICA IDENTITY FULL;

ALTER TABLE app.todos OWNER TO sessionbase_owner;

-- Name: TABLE todos; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.todos IS 'What the user means to do: one list a profile.';

-- Name: COLUMN todos.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.todos.profile_id IS 'The profile whose list it is on';

-- Name: COLUMN todos.id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.todos.id IS 'Given by the caller or made here';

-- Name: COLUMN todos.text; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.todos.text IS 'What to do, as typed';

-- Name: COLUMN todos.completed; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.todos.completed IS 'Whether it is done';

-- Name: COLUMN todos.created_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.todos.created_at IS 'When it was added, by the database''s clock';

-- Name: CONSTRAINT profile_id_length ON todos; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.todos IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT text_not_blank ON todos; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT text_not_blank ON app.todos IS 'text must not be blank';

-- Name: CONSTRAINT text_size ON todos; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT text_size ON app.todos IS 'text may have 64 KiB at most';

-- Name: todos; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.todos WITH (security_invoker='true') AS
 SELECT id,
    text,
    completed,
    created_at
   FROM app.todos todo;

ALTER VIEW api.todos OWNER TO sessionbase_owner;

-- Name: VIEW todos; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.todos IS 'The profile''s list of todos
List it in the app''s order with ?order=created_at,id. PATCH changes one row: name it with ?id=eq.…';

-- Name: COLUMN todos.id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.todos.id IS 'The todo''s id, a UUID; made here where none is given';

-- Name: COLUMN todos.text; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.todos.text IS 'What to do, kept as typed; not blank';

-- Name: COLUMN todos.completed; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.todos.completed IS 'Whether it is done';

-- Name: COLUMN todos.created_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.todos.created_at IS 'When it was added';

-- Name: delete_todo(uuid); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.delete_todo(id uuid) RETURNS api.todos
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  perform from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id
  for update;
  if not found then
    perform app.raise_error(404, 'not_found', 'Todo not found');
  end if;

  select * into strict answer from api.todos as todo where todo.id = delete_todo.id;
  delete from app.todos as todo
  where todo.profile_id = me and todo.id = delete_todo.id;
  return answer;
end
$$;

ALTER FUNCTION api.delete_todo(id uuid) OWNER TO sessionbase_owner;

-- Name: FUNCTION delete_todo(id uuid); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.delete_todo(id uuid) IS 'Delete a todo
Gives the todo as it was.';

-- Name: misalignments; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.misalignments (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    session_id text NOT NULL,
    id text NOT NULL,
    rule_id text NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    severity text DEFAULT 'medium'::text NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    previous_status text,
    event_range jsonb,
    evidence jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT event_range_shape CHECK (((jsonb_typeof(event_range) = 'object'::text) AND (event_range @? '$?(((@."startIndex".type() == "number" && @."endIndex".type() == "number") && @."startAt".type() == "string") && @."endAt".type() == "string")'::jsonpath))),
    CONSTRAINT event_range_size CHECK ((octet_length((event_range)::text) <= 65536)),
    CONSTRAINT evidence_shape CHECK (((jsonb_typeof(evidence) = 'array'::text) AND (NOT (evidence @? 'strict $[*]?(@.type() != "object")'::jsonpath)) AND (NOT (evidence @? '$[*]?(!(((@."message".type() == "string" && ((!(exists (@."eventIndex")) || @."eventIndex".type() == "number") || @."eventIndex".type() == "null")) && ((!(exists (@."eventId")) || @."eventId".type() == "string") || @."eventId".type() == "null")) && ((!(exists (@."highlight")) || @."highlight".type() == "string") || @."highlight".type() == "null")))'::jsonpath)))),
    CONSTRAINT evidence_size CHECK ((octet_length((evidence)::text) <= 1048576)),
    CONSTRAINT id_length CHECK (((octet_length(id) >= 1) AND (octet_length(id) <= 1024))),
    CONSTRAINT previous_status_known CHECK ((previous_status = ANY (ARRAY['open'::text, 'acknowledged'::text, 'dismissed'::text]))),
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT rule_id_length CHECK (((octet_length(rule_id) >= 1) AND (octet_length(rule_id) <= 400))),
    CONSTRAINT session_id_length CHECK (((octet_length(session_id) >= 1) AND (octet_length(session_id) <= 512))),
    CONSTRAINT severity_known CHECK ((severity = ANY (ARRAY['info'::text, 'low'::text, 'medium'::text, 'high'::text, 'critical'::text]))),
    CONSTRAINT status_known CHECK ((status = ANY (ARRAY['open'::text, 'acknowledged'::text, 'dismissed'::text]))),
    CONSTRAINT summary_size CHECK ((octet_length(summary) <= 1048576)),
    CONSTRAINT title_size CHECK ((octet_length(title) <= 65536))
)
WITH (fillfactor='80');
ALTER TABLE ONLY app.misalignments ALTER COLUMN session_id SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN id SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN rule_id SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN title SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN summary SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN severity SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN status SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN previous_status SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN event_range SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN evidence SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN created_at SET STATISTICS 0;
ALTER TABLE ONLY app.misalignments ALTER COLUMN updated_at SET STATISTICS 0;

ALTER TABLE ONLY app.misalignments REPLICA IDENTITY FULL;

ALTER TABLE app.misalignments OWNER TO sessionbase_owner;

-- Name: TABLE misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.misalignments IS 'Where a session departed from a rule, and what was done of it.';

-- Name: COLUMN misalignments.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.profile_id IS 'The profile that it belongs to';

-- Name: COLUMN misalignments.session_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.session_id IS 'The session; owned by another service';

-- Name: COLUMN misalignments.id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.id IS 'Deterministic: mis-<session_id>-<rule_id>';

-- Name: COLUMN misalignments.rule_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.rule_id IS 'The rule that was broken';

-- Name: COLUMN misalignments.title; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.title IS 'A heading';

-- Name: COLUMN misalignments.summary; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.summary IS 'What happened';

-- Name: COLUMN misalignments.severity; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.severity IS 'info, low, medium, high or critical';

-- Name: COLUMN misalignments.status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.status IS 'open, acknowledged or dismissed';

-- Name: COLUMN misalignments.previous_status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.previous_status IS 'The status before the last transition';

-- Name: COLUMN misalignments.event_range; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.event_range IS '{startIndex, endIndex, startAt, endAt}';

-- Name: COLUMN misalignments.evidence; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.evidence IS '[{message, eventIndex?, eventId?, highlight?}]';

-- Name: COLUMN misalignments.created_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.created_at IS 'When it was first found';

-- Name: COLUMN misalignments.updated_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignments.updated_at IS 'When anything of it last changed';

-- Name: CONSTRAINT event_range_shape ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT event_range_shape ON app.misalignments IS 'event_range must be {startIndex, endIndex, startAt, endAt}: two numbers and two texts';

-- Name: CONSTRAINT event_range_size ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT event_range_size ON app.misalignments IS 'event_range may have 64 KiB at most';

-- Name: CONSTRAINT evidence_shape ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT evidence_shape ON app.misalignments IS 'evidence must be an array of {message, eventIndex?, eventId?, highlight?}';

-- Name: CONSTRAINT evidence_size ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT evidence_size ON app.misalignments IS 'evidence may have 1 MiB at most';

-- Name: CONSTRAINT id_length ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT id_length ON app.misalignments IS 'id must have 1 to 1024 bytes';

-- Name: CONSTRAINT previous_status_known ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT previous_status_known ON app.misalignments IS 'previous_status is a status, or null before the first transition';

-- Name: CONSTRAINT profile_id_length ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.misalignments IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT rule_id_length ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT rule_id_length ON app.misalignments IS 'rule_id must have 1 to 400 bytes';

-- Name: CONSTRAINT session_id_length ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT session_id_length ON app.misalignments IS 'session_id must have 1 to 512 bytes';

-- Name: CONSTRAINT severity_known ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT severity_known ON app.misalignments IS 'severity must be info, low, medium, high or critical';

-- Name: CONSTRAINT status_known ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT status_known ON app.misalignments IS 'status must be open, acknowledged or dismissed';

-- Name: CONSTRAINT summary_size ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT summary_size ON app.misalignments IS 'summary may have 1 MiB at most';

-- Name: CONSTRAINT title_size ON misalignments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT title_size ON app.misalignments IS 'title may have 64 KiB at most';

-- Name: misalignments; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.misalignments WITH (security_invoker='true') AS
 SELECT id,
    session_id,
    rule_id,
    title,
    summary,
    severity,
    status,
    previous_status,
    event_range,
    evidence,
    created_at,
    updated_at
   FROM app.misalignments misalignment;

ALTER VIEW api.misalignments OWNER TO sessionbase_owner;

-- Name: VIEW misalignments; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.misalignments IS 'Where a session departed from a rule, and what was done about it
List a session in the app''s order with ?session_id=eq.S&order=created_at,id; add
&status=neq.dismissed for what the chat prompt uses.';

-- Name: COLUMN misalignments.id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.id IS 'The misalignment''s id within its session, mis-<session_id>-<rule_id>';

-- Name: COLUMN misalignments.session_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.session_id IS 'The session that departed from the rule';

-- Name: COLUMN misalignments.rule_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.rule_id IS 'The rule that was broken';

-- Name: COLUMN misalignments.title; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.title IS 'A heading';

-- Name: COLUMN misalignments.summary; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.summary IS 'What happened';

-- Name: COLUMN misalignments.severity; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.severity IS 'info, low, medium, high or critical';

-- Name: COLUMN misalignments.status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.status IS 'open, acknowledged or dismissed';

-- Name: COLUMN misalignments.previous_status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.previous_status IS 'The status before the last transition; null before the first';

-- Name: COLUMN misalignments.event_range; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.event_range IS 'Where in the timeline: {startIndex, endIndex, startAt, endAt}, or null';

-- Name: COLUMN misalignments.evidence; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.evidence IS 'What shows it: an array of {message, eventIndex?, eventId?, highlight?}';

-- Name: COLUMN misalignments.created_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.created_at IS 'When it was first found';

-- Name: COLUMN misalignments.updated_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignments.updated_at IS 'When its content or status last changed';

-- Name: ingest_misalignments(text, jsonb); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.ingest_misalignments(session_id text, candidates jsonb) RETURNS SETOF api.misalignments
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  candidate jsonb;
  candidate_id text;
  number integer := -1;
  ids text[] := '{}';
  changed boolean := false;
  mistyped text;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  if pg_catalog.jsonb_typeof(ingest_misalignments.candidates) is distinct from 'array' then
    perform app.raise_error(
      400, 'invalid_argument', 'candidates must be an array',
      pg_catalog.jsonb_build_object('field', 'candidates')
    );
  elsif pg_catalog.jsonb_array_length(ingest_misalignments.candidates) > 500 then
    perform app.raise_error(
      413, 'payload_too_large', 'candidates may have 500 records at most',
      pg_catalog.jsonb_build_object('field', 'candidates'), 'Send them in several calls'
    );
  end if;

  -- One batch of a session at a time, so that two can take their rows in the order of the
  -- candidates, which is the order of created_at, and still not deadlock: rows of different
  -- sessions have different keys, and a call takes this lock alone.
  perform pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended(me || '/' || ingest_misalignments.session_id, 0)
  );

  begin
    for candidate in
      select element.value
      from pg_catalog.jsonb_array_elements(ingest_misalignments.candidates) as element
    loop
      number := number + 1;
      if pg_catalog.jsonb_typeof(candidate) <> 'object' then
        perform app.raise_error(
          400, 'invalid_argument', pg_catalog.format('Candidate %s is no object', number),
          pg_catalog.jsonb_build_object('index', number, 'field', null)
        );
      end if;
      -- Without this ->> would turn a number or an object into text.
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
        -- Without a rule_id there is still an id, so that the refusal names what is missing.
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
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(
        violated_table, violated_constraint, violated_column,
        pg_catalog.jsonb_build_object('index', number)
      );
  end;

  if not changed then
    perform pg_catalog.set_config('sessionbase.unchanged', 'true', true);
  end if;
  return query
  select misalignment.*
  from api.misalignments as misalignment
  where misalignment.session_id = ingest_misalignments.session_id
    and misalignment.id = any(ids)
  order by misalignment.created_at, misalignment.id;
end
$_$;

ALTER FUNCTION api.ingest_misalignments(session_id text, candidates jsonb) OWNER TO sessionbase_owner;

-- Name: FUNCTION ingest_misalignments(session_id text, candidates jsonb); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.ingest_misalignments(session_id text, candidates jsonb) IS 'Take in what a detector found in a session: all of it, or nothing
candidates is an array of up to 500 {id?, rule_id, title, summary, severity?, status?, event_range?,
evidence?}. New ones are inserted, with their status; of known ones title, summary, severity,
event_range and evidence are refreshed, and never the status. A bad candidate refuses the whole batch;
details name its index and field. Gives the stored records.

- candidates: What was found: the array described above';

-- Name: ui_settings; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.ui_settings (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    settings jsonb NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT revision_starts_at_one CHECK ((revision >= 1)),
    CONSTRAINT settings_is_object CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT settings_known_types CHECK ((NOT (settings @? '$?((((((((exists (@."lastSessionPath") && @."lastSessionPath".type() != "string") && @."lastSessionPath".type() != "null" || (exists (@."ruleInspector") && @."ruleInspector".type() != "object") && @."ruleInspector".type() != "null") || (exists (@."bookmarks") && @."bookmarks".type() != "array") && @."bookmarks".type() != "null") || (exists (@."sessionExplorer") && @."sessionExplorer".type() != "object") && @."sessionExplorer".type() != "null") || (exists (@."timelinePreferences") && @."timelinePreferences".type() != "object") && @."timelinePreferences".type() != "null") || (exists (@."timelinePreferences"."filters") && @."timelinePreferences"."filters".type() != "array") && @."timelinePreferences"."filters".type() != "null") || (exists (@."timelinePreferences"."sortOrder") && @."timelinePreferences"."sortOrder".type() != "string") && @."timelinePreferences"."sortOrder".type() != "null") || (exists (@."timelinePreferences"."searchQuery") && @."timelinePreferences"."searchQuery".type() != "string") && @."timelinePreferences"."searchQuery".type() != "null")'::jsonpath))),
    CONSTRAINT settings_size CHECK ((octet_length((settings)::text) <= 1048576))
);
ALTER TABLE ONLY app.ui_settings ALTER COLUMN settings SET STATISTICS 0;
ALTER TABLE ONLY app.ui_settings ALTER COLUMN revision SET STATISTICS 0;
ALTER TABLE ONLY app.ui_settings ALTER COLUMN updated_at SET STATISTICS 0;

ALTER TABLE ONLY app.ui_settings REPLICA IDENTITY FULL;

ALTER TABLE app.ui_settings OWNER TO sessionbase_owner;

-- Name: TABLE ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.ui_settings IS 'How the user has set up the app: one JSON document a profile.';

-- Name: COLUMN ui_settings.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.ui_settings.profile_id IS 'The profile whose settings they are';

-- Name: COLUMN ui_settings.settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.ui_settings.settings IS 'The document, as the app writes it';

-- Name: COLUMN ui_settings.revision; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.ui_settings.revision IS '1, 2, 3 …: moves at every save and patch';

-- Name: COLUMN ui_settings.updated_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.ui_settings.updated_at IS 'When it was last saved or patched';

-- Name: CONSTRAINT profile_id_length ON ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.ui_settings IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT revision_starts_at_one ON ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT revision_starts_at_one ON app.ui_settings IS 'Revisions are numbered from 1';

-- Name: CONSTRAINT settings_is_object ON ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT settings_is_object ON app.ui_settings IS 'settings must be a JSON object';

-- Name: CONSTRAINT settings_known_types ON ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT settings_known_types ON app.ui_settings IS 'Known settings must have their type: lastSessionPath a text; ruleInspector, sessionExplorer and
timelinePreferences objects; bookmarks and timelinePreferences.filters arrays;
timelinePreferences.sortOrder and searchQuery texts; or null';

-- Name: CONSTRAINT settings_size ON ui_settings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT settings_size ON app.ui_settings IS 'settings may have 1 MiB at most';

-- Name: ui_settings; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.ui_settings WITH (security_invoker='true') AS
 SELECT settings,
    revision,
    updated_at
   FROM app.ui_settings stored;

ALTER VIEW api.ui_settings OWNER TO sessionbase_owner;

-- Name: VIEW ui_settings; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.ui_settings IS 'The profile''s UI settings: one row, or none before the first save
A guest (no token) gets 403 guest_not_stored: guest settings stay on the device.';

-- Name: COLUMN ui_settings.settings; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.ui_settings.settings IS 'The document as the app saved it; keys that sessionbase does not know are kept';

-- Name: COLUMN ui_settings.revision; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.ui_settings.revision IS '1, 2, 3 …: moves at every change; send it as expected_revision to save only over what you read';

-- Name: COLUMN ui_settings.updated_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.ui_settings.updated_at IS 'When the settings last changed';

-- Name: patch_ui_settings(jsonb, bigint); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.patch_ui_settings(patch jsonb, expected_revision bigint DEFAULT NULL::bigint) RETURNS api.ui_settings
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  -- PostgREST hands JSON null over as SQL null; as a patch it would replace the whole document.
  given_patch constant jsonb := coalesce(patch_ui_settings.patch, 'null');
  answer api.ui_settings;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  if pg_catalog.jsonb_typeof(given_patch) <> 'object' then
    perform app.refuse_row('ui_settings', 'settings_is_object', 'patch');
  end if;
  begin
    if coalesce(patch_ui_settings.expected_revision, 0) = 0 then
      insert into app.ui_settings as stored (settings)
      values (app.json_merge_patch('{}', given_patch))
      on conflict (profile_id) do update
      set settings = app.json_merge_patch(stored.settings, given_patch)
      where patch_ui_settings.expected_revision is null;
    else
      update app.ui_settings as stored
      set settings = app.json_merge_patch(stored.settings, given_patch)
      where stored.profile_id = me and stored.revision = patch_ui_settings.expected_revision;
    end if;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;
  if not found then
    perform app.refuse_stale_ui_settings(patch_ui_settings.expected_revision);
  end if;

  select * into strict answer from api.ui_settings;
  return answer;
end
$$;

ALTER FUNCTION api.patch_ui_settings(patch jsonb, expected_revision bigint) OWNER TO sessionbase_owner;

-- Name: FUNCTION patch_ui_settings(patch jsonb, expected_revision bigint); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.patch_ui_settings(patch jsonb, expected_revision bigint) IS 'Change parts of the profile''s UI settings (RFC 7396 merge patch)
Two callers that patch different parts at once lose nothing. null removes a key, an array replaces the
stored one. expected_revision works as in save_ui_settings.

- patch: The parts to change, in the shape of the settings; null removes a key
- expected_revision: Change only if the stored revision is this one; null: whatever it is';

-- Name: hookify_decisions; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.hookify_decisions (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    "position" bigint NOT NULL,
    id text DEFAULT ('hook_'::text || uuidv7()) NOT NULL,
    session_id text NOT NULL,
    source text NOT NULL,
    content_hash text NOT NULL,
    severity text NOT NULL,
    blocked boolean NOT NULL,
    rules jsonb NOT NULL,
    message text,
    annotations text,
    created_at timestamp with time zone NOT NULL,
    previous_hash text NOT NULL,
    row_hash text NOT NULL,
    CONSTRAINT annotations_size CHECK ((octet_length(annotations) <= 1048576)),
    CONSTRAINT content_hash_is_sha256 CHECK ((content_hash ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT id_length CHECK (((octet_length(id) >= 1) AND (octet_length(id) <= 200))),
    CONSTRAINT message_size CHECK ((octet_length(message) <= 65536)),
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT rules_shape CHECK (((jsonb_typeof(rules) = 'array'::text) AND (NOT (rules @? 'strict $[*]?(@.type() != "object")'::jsonpath)) AND (NOT (rules @? '$[*]?(!((@."id".type() == "string" && @."severity".type() == "string") && (((((@."severity" == "none" || @."severity" == "info") || @."severity" == "low") || @."severity" == "medium") || @."severity" == "high") || @."severity" == "critical")))'::jsonpath)))),
    CONSTRAINT rules_size CHECK ((octet_length((rules)::text) <= 1048576)),
    CONSTRAINT session_id_length CHECK (((octet_length(session_id) >= 1) AND (octet_length(session_id) <= 512))),
    CONSTRAINT severity_known CHECK ((severity = ANY (ARRAY['none'::text, 'info'::text, 'low'::text, 'medium'::text, 'high'::text, 'critical'::text]))),
    CONSTRAINT source_known CHECK ((source = ANY (ARRAY['timeline'::text, 'session'::text, 'manual'::text])))
);
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN "position" SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN id SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN session_id SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN source SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN content_hash SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN severity SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN blocked SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN rules SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN message SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN annotations SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN created_at SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN previous_hash SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_decisions ALTER COLUMN row_hash SET STATISTICS 0;

ALTER TABLE app.hookify_decisions OWNER TO sessionbase_owner;

-- Name: TABLE hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.hookify_decisions IS 'What hookify decided about a piece of content: an audit that is never changed.';

-- Name: COLUMN hookify_decisions.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.profile_id IS 'The profile that the decision belongs to';

-- Name: COLUMN hookify_decisions."position"; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions."position" IS '1, 2, 3 … in the order made, per profile';

-- Name: COLUMN hookify_decisions.id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.id IS 'hook_<uuid>, given by the caller or made here';

-- Name: COLUMN hookify_decisions.session_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.session_id IS 'The session; owned by another service';

-- Name: COLUMN hookify_decisions.source; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.source IS 'timeline, session or manual';

-- Name: COLUMN hookify_decisions.content_hash; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.content_hash IS 'SHA-256 (hex) of the content as UTF-8; the content itself is not kept';

-- Name: COLUMN hookify_decisions.severity; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.severity IS 'none, info, low, medium, high or critical';

-- Name: COLUMN hookify_decisions.blocked; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.blocked IS 'Whether the content was blocked';

-- Name: COLUMN hookify_decisions.rules; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.rules IS 'The rules that matched: [{id, severity}]';

-- Name: COLUMN hookify_decisions.message; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.message IS 'What the user was told';

-- Name: COLUMN hookify_decisions.annotations; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.annotations IS 'Notes, in Markdown';

-- Name: COLUMN hookify_decisions.created_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.created_at IS 'When, by the database''s clock';

-- Name: COLUMN hookify_decisions.previous_hash; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.previous_hash IS 'row_hash of the decision before; 64 zeros for the first';

-- Name: COLUMN hookify_decisions.row_hash; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_decisions.row_hash IS 'SHA-256 (hex) of the other columns, previous_hash among them';

-- Name: CONSTRAINT annotations_size ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT annotations_size ON app.hookify_decisions IS 'annotations may have 1 MiB at most';

-- Name: CONSTRAINT content_hash_is_sha256 ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT content_hash_is_sha256 ON app.hookify_decisions IS 'content_hash must be a SHA-256 in 64 lowercase hexadecimal digits';

-- Name: CONSTRAINT id_length ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT id_length ON app.hookify_decisions IS 'id must have 1 to 200 bytes';

-- Name: CONSTRAINT message_size ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT message_size ON app.hookify_decisions IS 'message may have 64 KiB at most';

-- Name: CONSTRAINT profile_id_length ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.hookify_decisions IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT rules_shape ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT rules_shape ON app.hookify_decisions IS 'rules must be an array of {id, severity}, the severity one of none, info, low, medium, high, critical';

-- Name: CONSTRAINT rules_size ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT rules_size ON app.hookify_decisions IS 'rules may have 1 MiB at most';

-- Name: CONSTRAINT session_id_length ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT session_id_length ON app.hookify_decisions IS 'session_id must have 1 to 512 bytes';

-- Name: CONSTRAINT severity_known ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT severity_known ON app.hookify_decisions IS 'severity must be none, info, low, medium, high or critical';

-- Name: CONSTRAINT source_known ON hookify_decisions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT source_known ON app.hookify_decisions IS 'source must be timeline, session or manual';

-- Name: hookify_decisions; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.hookify_decisions WITH (security_invoker='true') AS
 SELECT profile_id,
    "position",
    id,
    session_id,
    source,
    content_hash,
    severity,
    blocked,
    rules,
    message,
    annotations,
    created_at,
    previous_hash,
    row_hash
   FROM app.hookify_decisions decision;

ALTER VIEW api.hookify_decisions OWNER TO sessionbase_owner;

-- Name: VIEW hookify_decisions; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.hookify_decisions IS 'The audit of what hookify decided; never changed
List a session in the order made with ?session_id=eq.S&order=position. A profile sees its own
decisions, an auditor everybody''s.';

-- Name: COLUMN hookify_decisions.profile_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.profile_id IS 'The profile that the decision belongs to';

-- Name: COLUMN hookify_decisions."position"; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions."position" IS '1, 2, 3 … in the order made, over all the profile''s sessions';

-- Name: COLUMN hookify_decisions.id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.id IS 'The decision''s id, hook_<uuid>';

-- Name: COLUMN hookify_decisions.session_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.session_id IS 'The session that the content belongs to';

-- Name: COLUMN hookify_decisions.source; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.source IS 'Where the content came from: timeline, session or manual';

-- Name: COLUMN hookify_decisions.content_hash; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.content_hash IS 'SHA-256 (hex) of the content as UTF-8; the content itself is not kept';

-- Name: COLUMN hookify_decisions.severity; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.severity IS 'The gravest finding: none, info, low, medium, high or critical';

-- Name: COLUMN hookify_decisions.blocked; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.blocked IS 'Whether the content was blocked';

-- Name: COLUMN hookify_decisions.rules; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.rules IS 'The rules that matched: an array of {id, severity}';

-- Name: COLUMN hookify_decisions.message; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.message IS 'What the user was told, or null';

-- Name: COLUMN hookify_decisions.annotations; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.annotations IS 'Notes in Markdown, or null';

-- Name: COLUMN hookify_decisions.created_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.created_at IS 'When the decision was recorded';

-- Name: COLUMN hookify_decisions.previous_hash; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.previous_hash IS 'row_hash of the profile''s decision before; 64 zeros for the first';

-- Name: COLUMN hookify_decisions.row_hash; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.hookify_decisions.row_hash IS 'SHA-256 (hex) over the decision and previous_hash: a link of the chain';

-- Name: record_hookify_decision(text, text, text, boolean, jsonb, text, text, text, text, text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text DEFAULT NULL::text, content_hash text DEFAULT NULL::text, message text DEFAULT NULL::text, annotations text DEFAULT NULL::text, id text DEFAULT NULL::text) RETURNS api.hookify_decisions
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION api.record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text) OWNER TO sessionbase_owner;

-- Name: FUNCTION record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text) IS 'Record what hookify decided about a piece of content
Give the content, which is hashed and not kept, or its content_hash. Of each rule only id and severity
are kept. Repeating the call with the same id and content gives the stored decision again; other
content under the same id is refused with 409 id_taken.

- content: The content that was checked; hashed, not kept. Give it or content_hash';

-- Name: tool_events; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.tool_events (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    id text DEFAULT ('tool_'::text || uuidv7()) NOT NULL,
    session_id text NOT NULL,
    thread_id text,
    tool_call_id text,
    tool_name text NOT NULL,
    status text DEFAULT 'executing'::text NOT NULL,
    arguments jsonb NOT NULL,
    result jsonb,
    error text,
    context_events jsonb,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    completed_at timestamp with time zone,
    latency_ms bigint GENERATED ALWAYS AS (round((EXTRACT(epoch FROM (completed_at - started_at)) * (1000)::numeric))) STORED,
    CONSTRAINT arguments_size CHECK ((octet_length((arguments)::text) <= 1048576)),
    CONSTRAINT completed_at_iff_finished CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text])) = (completed_at IS NOT NULL))),
    CONSTRAINT completed_at_not_before_started_at CHECK ((completed_at >= started_at)),
    CONSTRAINT context_events_shape CHECK (((jsonb_typeof(context_events) = 'array'::text) AND (NOT (context_events @? 'strict $[*]?(@.type() != "object")'::jsonpath)) AND (NOT (context_events @? '$[*]?(!((((@."eventIndex".type() == "number" && @."displayIndex".type() == "number") && ((!(exists (@."eventId")) || @."eventId".type() == "string") || @."eventId".type() == "null")) && @."eventType".type() == "string") && @."summary".type() == "string"))'::jsonpath)))),
    CONSTRAINT context_events_size CHECK ((octet_length((context_events)::text) <= 1048576)),
    CONSTRAINT error_only_when_failed CHECK (((status = 'failed'::text) OR (error IS NULL))),
    CONSTRAINT error_size CHECK ((octet_length(error) <= 65536)),
    CONSTRAINT id_length CHECK (((octet_length(id) >= 1) AND (octet_length(id) <= 200))),
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT result_only_when_finished CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text])) OR (result IS NULL))),
    CONSTRAINT result_size CHECK ((octet_length((result)::text) <= 8388608)),
    CONSTRAINT session_id_length CHECK (((octet_length(session_id) >= 1) AND (octet_length(session_id) <= 512))),
    CONSTRAINT status_known CHECK ((status = ANY (ARRAY['pending'::text, 'executing'::text, 'succeeded'::text, 'failed'::text]))),
    CONSTRAINT thread_id_length CHECK (((octet_length(thread_id) >= 1) AND (octet_length(thread_id) <= 512))),
    CONSTRAINT tool_call_id_length CHECK (((octet_length(tool_call_id) >= 1) AND (octet_length(tool_call_id) <= 512))),
    CONSTRAINT tool_name_length CHECK (((octet_length(tool_name) >= 1) AND (octet_length(tool_name) <= 200)))
)
WITH (fillfactor='80');
ALTER TABLE ONLY app.tool_events ALTER COLUMN id SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN session_id SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN thread_id SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN tool_call_id SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN tool_name SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN status SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN arguments SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN result SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN error SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN context_events SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN started_at SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN completed_at SET STATISTICS 0;
ALTER TABLE ONLY app.tool_events ALTER COLUMN latency_ms SET STATISTICS 0;

ALTER TABLE ONLY app.tool_events REPLICA IDENTITY FULL;

ALTER TABLE app.tool_events OWNER TO sessionbase_owner;

-- Name: TABLE tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.tool_events IS 'What the chat''s tools did: one row a tool run.';

-- Name: COLUMN tool_events.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.profile_id IS 'The profile that the event belongs to';

-- Name: COLUMN tool_events.id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.id IS 'tool_<uuid>, given by the caller or made here';

-- Name: COLUMN tool_events.session_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.session_id IS 'The session; owned by another service';

-- Name: COLUMN tool_events.thread_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.thread_id IS 'The chat thread; owned by another service';

-- Name: COLUMN tool_events.tool_call_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.tool_call_id IS 'The model provider''s id of the call; not unique across sessions';

-- Name: COLUMN tool_events.tool_name; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.tool_name IS 'Which tool ran';

-- Name: COLUMN tool_events.status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.status IS 'pending, executing, succeeded or failed';

-- Name: COLUMN tool_events.arguments; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.arguments IS 'What the tool was called with';

-- Name: COLUMN tool_events.result; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.result IS 'What it gave, once finished';

-- Name: COLUMN tool_events.error; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.error IS 'Why it failed';

-- Name: COLUMN tool_events.context_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.context_events IS 'The timeline events that it looked at';

-- Name: COLUMN tool_events.started_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.started_at IS 'When it was recorded, by the database''s clock';

-- Name: COLUMN tool_events.completed_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.completed_at IS 'When it finished, by the database''s clock';

-- Name: COLUMN tool_events.latency_ms; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_events.latency_ms IS 'completed_at - started_at, in milliseconds';

-- Name: CONSTRAINT arguments_size ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT arguments_size ON app.tool_events IS 'arguments may have 1 MiB at most';

-- Name: CONSTRAINT completed_at_iff_finished ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT completed_at_iff_finished ON app.tool_events IS 'completed_at is there exactly when the event has finished';

-- Name: CONSTRAINT completed_at_not_before_started_at ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT completed_at_not_before_started_at ON app.tool_events IS 'An event cannot finish before it started';

-- Name: CONSTRAINT context_events_shape ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT context_events_shape ON app.tool_events IS 'context_events must be an array of {eventIndex, displayIndex, eventId?, eventType, summary}';

-- Name: CONSTRAINT context_events_size ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT context_events_size ON app.tool_events IS 'context_events may have 1 MiB at most';

-- Name: CONSTRAINT error_only_when_failed ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT error_only_when_failed ON app.tool_events IS 'error is only for an event that failed';

-- Name: CONSTRAINT error_size ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT error_size ON app.tool_events IS 'error may have 64 KiB at most';

-- Name: CONSTRAINT id_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT id_length ON app.tool_events IS 'id must have 1 to 200 bytes';

-- Name: CONSTRAINT profile_id_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.tool_events IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT result_only_when_finished ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT result_only_when_finished ON app.tool_events IS 'result is only for an event that succeeded or failed';

-- Name: CONSTRAINT result_size ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT result_size ON app.tool_events IS 'result may have 8 MiB at most';

-- Name: CONSTRAINT session_id_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT session_id_length ON app.tool_events IS 'session_id must have 1 to 512 bytes';

-- Name: CONSTRAINT status_known ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT status_known ON app.tool_events IS 'status must be pending, executing, succeeded or failed';

-- Name: CONSTRAINT thread_id_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT thread_id_length ON app.tool_events IS 'thread_id must have 1 to 512 bytes';

-- Name: CONSTRAINT tool_call_id_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT tool_call_id_length ON app.tool_events IS 'tool_call_id must have 1 to 512 bytes';

-- Name: CONSTRAINT tool_name_length ON tool_events; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT tool_name_length ON app.tool_events IS 'tool_name must have 1 to 200 bytes';

-- Name: tool_events; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.tool_events WITH (security_invoker='true') AS
 SELECT id,
    session_id,
    thread_id,
    tool_call_id,
    tool_name,
    status,
    arguments,
    result,
    error,
    context_events,
    started_at,
    completed_at,
    latency_ms
   FROM app.tool_events event;

ALTER VIEW api.tool_events OWNER TO sessionbase_owner;

-- Name: VIEW tool_events; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.tool_events IS 'The tool runs of the profile''s chats
List a session in the app''s order with ?session_id=eq.S&order=started_at,id.';

-- Name: COLUMN tool_events.id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.id IS 'The event''s id, tool_<uuid>';

-- Name: COLUMN tool_events.session_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.session_id IS 'The session that the chat belongs to';

-- Name: COLUMN tool_events.thread_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.thread_id IS 'The chat thread, or null';

-- Name: COLUMN tool_events.tool_call_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.tool_call_id IS 'The model provider''s id of the call, or null; not unique across sessions';

-- Name: COLUMN tool_events.tool_name; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.tool_name IS 'Which tool ran, for example get_timeline_event';

-- Name: COLUMN tool_events.status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.status IS 'pending, executing, succeeded or failed; the last two are final';

-- Name: COLUMN tool_events.arguments; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.arguments IS 'What the tool was called with: any JSON';

-- Name: COLUMN tool_events.result; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.result IS 'What the tool gave: any JSON; null until finished';

-- Name: COLUMN tool_events.error; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.error IS 'Why the tool failed; null unless failed';

-- Name: COLUMN tool_events.context_events; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.context_events IS 'The timeline events that the tool looked at:
an array of {eventIndex, displayIndex, eventId?, eventType, summary}, or null';

-- Name: COLUMN tool_events.started_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.started_at IS 'When the event was recorded';

-- Name: COLUMN tool_events.completed_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.completed_at IS 'When it succeeded or failed; null before';

-- Name: COLUMN tool_events.latency_ms; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_events.latency_ms IS 'completed_at - started_at in milliseconds; null before it finished';

-- Name: record_tool_event(text, text, jsonb, text, text, text, text, jsonb); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.record_tool_event(session_id text, tool_name text, arguments jsonb, id text DEFAULT NULL::text, thread_id text DEFAULT NULL::text, tool_call_id text DEFAULT NULL::text, status text DEFAULT 'executing'::text, context_events jsonb DEFAULT NULL::jsonb) RETURNS api.tool_events
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  event_id constant text := coalesce(record_tool_event.id, 'tool_' || pg_catalog.uuidv7());
  starting_status constant text := coalesce(record_tool_event.status, 'executing');
  -- JSON null is a value like any other; PostgREST hands it over as SQL null.
  given_arguments constant jsonb := coalesce(record_tool_event.arguments, 'null');
  inserted integer;
  stored app.tool_events;
  recorded_status text;
  untouched boolean;
  differing text[];
  answer api.tool_events;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  if not app.is_legal_tool_event_transition(null, starting_status) then
    perform app.raise_error(
      400, 'invalid_argument', 'status must be pending or executing',
      pg_catalog.jsonb_build_object('field', 'status', 'status', starting_status),
      'Record an event when it starts; finish it with transition_tool_event'
    );
  end if;

  begin
    insert into app.tool_events (
      id, session_id, thread_id, tool_call_id, tool_name, status, arguments, context_events
    )
    values (
      event_id, record_tool_event.session_id, record_tool_event.thread_id,
      record_tool_event.tool_call_id, record_tool_event.tool_name, starting_status,
      given_arguments, record_tool_event.context_events
    )
    on conflict (profile_id, id) do nothing;
    get diagnostics inserted = row_count;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;

  if inserted = 0 then
    perform pg_catalog.set_config('sessionbase.unchanged', 'true', true);
    select * into strict stored
    from app.tool_events as event
    where event.profile_id = me and event.id = event_id;
    -- The log's first entry was written in the transaction that recorded the event: while the event
    -- is that transaction's too, nobody has updated it.
    select entry.to_status, entry.xmin = event.xmin into strict recorded_status, untouched
    from app.tool_events as event
    inner join app.tool_event_transitions as entry
      on entry.profile_id = event.profile_id and entry.tool_event_id = event.id
    where event.profile_id = me and event.id = event_id and entry.from_status is null;

    differing := pg_catalog.array_remove(array[
      case when stored.session_id <> record_tool_event.session_id then 'session_id' end,
      case
        when stored.thread_id is distinct from record_tool_event.thread_id then 'thread_id'
      end,
      case
        when stored.tool_call_id is distinct from record_tool_event.tool_call_id
          then 'tool_call_id'
      end,
      case when stored.tool_name <> record_tool_event.tool_name then 'tool_name' end,
      case when stored.arguments <> given_arguments then 'arguments' end,
      case when recorded_status <> starting_status then 'status' end,
      -- Once the event was updated, they may be another call's.
      case
        when untouched
          and stored.context_events is distinct from record_tool_event.context_events
          then 'context_events'
      end
    ], null);
    if pg_catalog.cardinality(differing) > 0 then
      perform app.raise_error(
        409, 'id_taken',
        pg_catalog.format('Tool event %s is already recorded with other content', event_id),
        pg_catalog.jsonb_build_object('id', event_id, 'differs', differing),
        'Use another id, or leave it out to have one made'
      );
    end if;
  end if;

  select * into strict answer from api.tool_events as event where event.id = event_id;
  return answer;
end
$$;

ALTER FUNCTION api.record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb) OWNER TO sessionbase_owner;

-- Name: FUNCTION record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb) IS 'Record that a tool run has started
Gives the stored event. Repeating the call with the same id and content gives it again; other content
under the same id is refused with 409 id_taken.';

-- Name: save_ui_settings(jsonb, bigint); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.save_ui_settings(settings jsonb, expected_revision bigint DEFAULT NULL::bigint) RETURNS api.ui_settings
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.ui_settings;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  begin
    if coalesce(save_ui_settings.expected_revision, 0) = 0 then
      insert into app.ui_settings (settings)
      values (save_ui_settings.settings)
      on conflict (profile_id) do update
      set settings = excluded.settings
      where save_ui_settings.expected_revision is null;
    else
      update app.ui_settings as stored
      set settings = save_ui_settings.settings
      where stored.profile_id = me and stored.revision = save_ui_settings.expected_revision;
    end if;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;
  if not found then
    perform app.refuse_stale_ui_settings(save_ui_settings.expected_revision);
  end if;

  select * into strict answer from api.ui_settings;
  return answer;
end
$$;

ALTER FUNCTION api.save_ui_settings(settings jsonb, expected_revision bigint) OWNER TO sessionbase_owner;

-- Name: FUNCTION save_ui_settings(settings jsonb, expected_revision bigint); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.save_ui_settings(settings jsonb, expected_revision bigint) IS 'Replace the profile''s UI settings
With expected_revision, only if the stored revision is that one (0: nothing is stored yet); else 409
stale_revision, with the stored revision and settings in details.

- expected_revision: Save only if the stored revision is this one, 0 if nothing is
  stored; null: whatever it is';

-- Name: session_context(text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.session_context(session_id text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  -- One statement, so one snapshot.
  select pg_catalog.jsonb_build_object(
    'session_id', session_context.session_id,
    'binding', (
      select pg_catalog.to_jsonb(binding)
      from api.session_repo_bindings as binding
      where binding.session_id = session_context.session_id
    ),
    'misalignments', (
      select coalesce(
        pg_catalog.jsonb_agg(
          pg_catalog.to_jsonb(misalignment) order by misalignment.created_at, misalignment.id
        ),
        '[]'
      )
      from api.misalignments as misalignment
      where misalignment.session_id = session_context.session_id
        and misalignment.status <> 'dismissed'
    ),
    'unfinished_tool_events', (
      select coalesce(
        pg_catalog.jsonb_agg(pg_catalog.to_jsonb(event) order by event.started_at, event.id),
        '[]'
      )
      from api.tool_events as event
      where event.session_id = session_context.session_id
        and event.status in ('pending', 'executing')
    ),
    'counts', pg_catalog.jsonb_build_object(
      'tool_events', (
        select pg_catalog.jsonb_build_object(
          'pending', pg_catalog.count(*) filter (where event.status = 'pending'),
          'executing', pg_catalog.count(*) filter (where event.status = 'executing'),
          'succeeded', pg_catalog.count(*) filter (where event.status = 'succeeded'),
          'failed', pg_catalog.count(*) filter (where event.status = 'failed')
        )
        from api.tool_events as event
        where event.session_id = session_context.session_id
      ),
      'misalignments', (
        select pg_catalog.jsonb_build_object(
          'open', pg_catalog.count(*) filter (where misalignment.status = 'open'),
          'acknowledged', pg_catalog.count(*) filter (where misalignment.status = 'acknowledged'),
          'dismissed', pg_catalog.count(*) filter (where misalignment.status = 'dismissed')
        )
        from api.misalignments as misalignment
        where misalignment.session_id = session_context.session_id
      ),
      'hookify_decisions', (
        select pg_catalog.jsonb_build_object(
          'blocked', pg_catalog.count(*) filter (where decision.blocked),
          'allowed', pg_catalog.count(*) filter (where not decision.blocked)
        )
        from api.hookify_decisions as decision
        where decision.session_id = session_context.session_id
      )
    )
  )
$$;

ALTER FUNCTION api.session_context(session_id text) OWNER TO sessionbase_owner;

-- Name: FUNCTION session_context(session_id text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.session_context(session_id text) IS 'What the chat prompt needs to know of a session, in one snapshot
An object of session_id, binding (or null), misalignments (those not dismissed, oldest first),
unfinished_tool_events (oldest first) and counts by status; rows have the columns of their views.

- session_id: The session to tell of';

-- Name: session_repo_bindings; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.session_repo_bindings (
    profile_id text DEFAULT app.profile_id() NOT NULL,
    session_id text NOT NULL,
    asset_path text NOT NULL,
    root_dir text NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT asset_path_length CHECK (((octet_length(asset_path) >= 1) AND (octet_length(asset_path) <= 4096))),
    CONSTRAINT profile_id_length CHECK (((octet_length(profile_id) >= 1) AND (octet_length(profile_id) <= 200))),
    CONSTRAINT root_dir_length CHECK (((octet_length(root_dir) >= 1) AND (octet_length(root_dir) <= 4096))),
    CONSTRAINT session_id_length CHECK (((octet_length(session_id) >= 1) AND (octet_length(session_id) <= 512)))
);
ALTER TABLE ONLY app.session_repo_bindings ALTER COLUMN session_id SET STATISTICS 0;
ALTER TABLE ONLY app.session_repo_bindings ALTER COLUMN asset_path SET STATISTICS 0;
ALTER TABLE ONLY app.session_repo_bindings ALTER COLUMN root_dir SET STATISTICS 0;
ALTER TABLE ONLY app.session_repo_bindings ALTER COLUMN updated_at SET STATISTICS 0;

ALTER TABLE ONLY app.session_repo_bindings REPLICA IDENTITY FULL;

ALTER TABLE app.session_repo_bindings OWNER TO sessionbase_owner;

-- Name: TABLE session_repo_bindings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.session_repo_bindings IS 'Which repository a session works on: one a session.';

-- Name: COLUMN session_repo_bindings.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.session_repo_bindings.profile_id IS 'The profile that it belongs to';

-- Name: COLUMN session_repo_bindings.session_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.session_repo_bindings.session_id IS 'The session; owned by another service';

-- Name: COLUMN session_repo_bindings.asset_path; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.session_repo_bindings.asset_path IS 'The session''s asset';

-- Name: COLUMN session_repo_bindings.root_dir; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.session_repo_bindings.root_dir IS 'The root folder of the repository';

-- Name: COLUMN session_repo_bindings.updated_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.session_repo_bindings.updated_at IS 'When it was last set';

-- Name: CONSTRAINT asset_path_length ON session_repo_bindings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT asset_path_length ON app.session_repo_bindings IS 'asset_path must have 1 to 4096 bytes';

-- Name: CONSTRAINT profile_id_length ON session_repo_bindings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT profile_id_length ON app.session_repo_bindings IS 'The profile id must have 1 to 200 bytes';

-- Name: CONSTRAINT root_dir_length ON session_repo_bindings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT root_dir_length ON app.session_repo_bindings IS 'root_dir must have 1 to 4096 bytes';

-- Name: CONSTRAINT session_id_length ON session_repo_bindings; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT session_id_length ON app.session_repo_bindings IS 'session_id must have 1 to 512 bytes';

-- Name: session_repo_bindings; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.session_repo_bindings WITH (security_invoker='true') AS
 SELECT session_id,
    asset_path,
    root_dir,
    updated_at
   FROM app.session_repo_bindings binding;

ALTER VIEW api.session_repo_bindings OWNER TO sessionbase_owner;

-- Name: VIEW session_repo_bindings; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.session_repo_bindings IS 'Which repository each session works on
Clear a session''s with DELETE and ?session_id=eq.S, which is quiet where there is none.';

-- Name: COLUMN session_repo_bindings.session_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.session_repo_bindings.session_id IS 'The session; it has one binding at most';

-- Name: COLUMN session_repo_bindings.asset_path; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.session_repo_bindings.asset_path IS 'The session''s asset';

-- Name: COLUMN session_repo_bindings.root_dir; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.session_repo_bindings.root_dir IS 'The root folder of the repository';

-- Name: COLUMN session_repo_bindings.updated_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.session_repo_bindings.updated_at IS 'When the binding was last set';

-- Name: set_session_repo_binding(text, text, text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.set_session_repo_binding(session_id text, asset_path text, root_dir text) RETURNS api.session_repo_bindings
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  answer api.session_repo_bindings;
  violated_table text;
  violated_constraint text;
  violated_column text;
begin
  begin
    insert into app.session_repo_bindings (session_id, asset_path, root_dir)
    values (
      set_session_repo_binding.session_id,
      set_session_repo_binding.asset_path,
      set_session_repo_binding.root_dir
    )
    on conflict (profile_id, session_id) do update
    set asset_path = excluded.asset_path, root_dir = excluded.root_dir;
  exception
    when check_violation or not_null_violation then
      get stacked diagnostics
        violated_table = table_name,
        violated_constraint = constraint_name,
        violated_column = column_name;
      perform app.refuse_row(violated_table, violated_constraint, violated_column);
  end;

  select * into strict answer
  from api.session_repo_bindings as binding
  where binding.session_id = set_session_repo_binding.session_id;
  return answer;
end
$$;

ALTER FUNCTION api.set_session_repo_binding(session_id text, asset_path text, root_dir text) OWNER TO sessionbase_owner;

-- Name: FUNCTION set_session_repo_binding(session_id text, asset_path text, root_dir text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.set_session_repo_binding(session_id text, asset_path text, root_dir text) IS 'Say which repository a session works on
Replaces the binding that the session has. updated_at moves at each call.';

-- Name: toggle_todo(uuid); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.toggle_todo(id uuid) RETURNS api.todos
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  answer api.todos;
begin
  update app.todos as todo
  set completed = not todo.completed
  where todo.profile_id = me and todo.id = toggle_todo.id;
  if not found then
    perform app.raise_error(404, 'not_found', 'Todo not found');
  end if;

  select * into strict answer from api.todos as todo where todo.id = toggle_todo.id;
  return answer;
end
$$;

ALTER FUNCTION api.toggle_todo(id uuid) OWNER TO sessionbase_owner;

-- Name: FUNCTION toggle_todo(id uuid); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.toggle_todo(id uuid) IS 'Turn a todo from open to done, or back
Gives the todo as it is then. Two toggles at once both count.';

-- Name: transition_misalignment(text, text, text, text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.transition_misalignment(session_id text, id text, to_status text, expected_status text DEFAULT NULL::text) RETURNS api.misalignments
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  stored_status text;
  answer api.misalignments;
begin
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

    -- No row: say why, of the row as it is now.
    select misalignment.status into stored_status
    from app.misalignments as misalignment
    where misalignment.profile_id = me
      and misalignment.session_id = transition_misalignment.session_id
      and misalignment.id = transition_misalignment.id
    for update;
    if not found then
      perform app.raise_error(404, 'not_found', 'Misalignment not found');
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
    -- It came to be, or to be as expected, between the two statements: with the lock, once more.
  end loop;

  select * into strict answer
  from api.misalignments as misalignment
  where misalignment.session_id = transition_misalignment.session_id
    and misalignment.id = transition_misalignment.id;
  return answer;
end
$$;

ALTER FUNCTION api.transition_misalignment(session_id text, id text, to_status text, expected_status text) OWNER TO sessionbase_owner;

-- Name: FUNCTION transition_misalignment(session_id text, id text, to_status text, expected_status text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.transition_misalignment(session_id text, id text, to_status text, expected_status text) IS 'Acknowledge, dismiss or re-open a misalignment
Legal: open to acknowledged, dismissed; acknowledged to dismissed, open; dismissed to acknowledged,
open. Anything else is refused with 409 illegal_transition. With expected_status, only if the stored
status is that one. The answer''s previous_status is the status before.

- to_status: The status to enter: open, acknowledged or dismissed
- expected_status: Move only if the stored status is this one; null: whatever it is';

-- Name: transition_tool_event(text, text, jsonb, text, jsonb, text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.transition_tool_event(id text, to_status text, result jsonb DEFAULT NULL::jsonb, error text DEFAULT NULL::text, context_events jsonb DEFAULT NULL::jsonb, expected_status text DEFAULT NULL::text) RETURNS api.tool_events
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  stored_status text;
  finished boolean;
  answer api.tool_events;
  violated_table text;
  violated_constraint text;
begin
  if (
    app.is_legal_tool_event_transition(null, transition_tool_event.to_status)
    or app.is_legal_tool_event_transition('pending', transition_tool_event.to_status)
  ) is not true then
    -- Nothing leads to it, so it is no status.
    perform app.refuse_row('tool_events', 'status_known', 'to_status');
  end if;

  loop
    begin
      update app.tool_events as event
      set
        status = transition_tool_event.to_status,
        result = transition_tool_event.result,
        error = transition_tool_event.error,
        context_events = coalesce(transition_tool_event.context_events, event.context_events)
      where event.profile_id = me
        and event.id = transition_tool_event.id
        and case
          when event.completed_at is null
            then event.status = coalesce(transition_tool_event.expected_status, event.status)
          -- Its own status again is a repeat; any other one the guard of the table refuses.
          else event.status is distinct from transition_tool_event.to_status
        end;
      exit when found;
    exception
      when check_violation then
        get stacked diagnostics
          violated_table = table_name, violated_constraint = constraint_name;
        perform app.refuse_row(violated_table, violated_constraint, '');
    end;

    -- No row: say why, of the row as it is now.
    select event.status, event.completed_at is not null into stored_status, finished
    from app.tool_events as event
    where event.profile_id = me and event.id = transition_tool_event.id
    for update;
    if not found then
      perform app.raise_error(
        404, 'not_found',
        pg_catalog.format('Tool event %s not found', transition_tool_event.id),
        pg_catalog.jsonb_build_object('id', transition_tool_event.id)
      );
    end if;
    -- The repeat of a finished event's own status: the first completion stays as it is.
    if finished and stored_status = transition_tool_event.to_status then
      perform pg_catalog.set_config('sessionbase.unchanged', 'true', true);
      exit;
    end if;
    if stored_status <> transition_tool_event.expected_status then
      perform app.raise_error(
        409, 'illegal_transition',
        pg_catalog.format(
          'Tool event is %s, not %s', stored_status, transition_tool_event.expected_status
        ),
        pg_catalog.jsonb_build_object(
          'from', stored_status,
          'to', transition_tool_event.to_status,
          'expected', transition_tool_event.expected_status
        )
      );
    end if;
    -- It came to be, or to be as expected, between the two statements: with the lock, once more.
  end loop;

  select * into strict answer
  from api.tool_events as event
  where event.id = transition_tool_event.id;
  return answer;
end
$$;

ALTER FUNCTION api.transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text) OWNER TO sessionbase_owner;

-- Name: FUNCTION transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text) IS 'Move a tool event to another status, by its id
Legal: pending to executing, succeeded, failed; executing to succeeded, failed. The status that a
finished event has already changes nothing and gives the stored event; the other final status is
refused with 409 already_finished. With expected_status, only if the stored status is that one.
Context events replace the stored ones; without any, those stay.

- to_status: The status to enter: executing, succeeded or failed
- expected_status: Move only if the stored status is this one; null: whatever it is';

-- Name: transition_tool_event_by_call(text, text, text, jsonb, text, jsonb, text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.transition_tool_event_by_call(tool_call_id text, to_status text, session_id text DEFAULT NULL::text, result jsonb DEFAULT NULL::jsonb, error text DEFAULT NULL::text, context_events jsonb DEFAULT NULL::jsonb, expected_status text DEFAULT NULL::text) RETURNS SETOF api.tool_events
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  me constant text := app.profile_id();
  picked text;
  before text;
  unfinished boolean;
begin
  if (
    app.is_legal_tool_event_transition(null, transition_tool_event_by_call.to_status)
    or app.is_legal_tool_event_transition('pending', transition_tool_event_by_call.to_status)
  ) is not true then
    -- Nothing leads to it, so it is no status.
    perform app.refuse_row('tool_events', 'status_known', 'to_status');
  end if;

  -- One caller of a call id at a time: the loop below may hold one event while it waits for another.
  perform pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended(
      me || '/' || transition_tool_event_by_call.tool_call_id, 1
    )
  );
  -- Newest unfinished one first, else the newest. Whoever had the lock may have finished the one
  -- that was picked: then look once more, as another unfinished one comes first.
  loop
    select event.id, event.completed_at is null into picked, unfinished
    from app.tool_events as event
    where event.profile_id = me
      and event.tool_call_id = transition_tool_event_by_call.tool_call_id
      and (
        transition_tool_event_by_call.session_id is null
        or event.session_id = transition_tool_event_by_call.session_id
      )
    order by event.completed_at is null desc, event.started_at desc, event.id desc
    limit 1
    for update;
    if not found then
      return;
    end if;
    exit when unfinished or picked = before;
    before := picked;
  end loop;

  return next api.transition_tool_event(
    picked,
    transition_tool_event_by_call.to_status,
    transition_tool_event_by_call.result,
    transition_tool_event_by_call.error,
    transition_tool_event_by_call.context_events,
    transition_tool_event_by_call.expected_status
  );
end
$$;

ALTER FUNCTION api.transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text) OWNER TO sessionbase_owner;

-- Name: FUNCTION transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text) IS 'Move a tool event to another status, by the model provider''s id of the call
Takes the newest unfinished event with that call id, else the newest; session_id narrows the search.
Gives an array of the stored event, or an empty one where there is none. Rules as by id.

- to_status: The status to enter: executing, succeeded or failed
- session_id: Look in this session only; null: in all of them
- expected_status: Move only if the stored status is this one; null: whatever it is';

-- Name: txid(record); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.txid(record) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- A repeat has a transaction too, if only for its locks, but no stream will ever name it.
  if pg_catalog.current_setting('sessionbase.unchanged', true) = 'true' then
    return null;
  end if;
  return pg_catalog.pg_current_xact_id_if_assigned()::xid::text;
end
$$;

ALTER FUNCTION api.txid(record) OWNER TO sessionbase_owner;

-- Name: FUNCTION txid(record); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.txid(record) IS 'The transaction of the request, as a replication stream names it; null where nothing was written
A computed column of every row that a write returns: ask for it with ?select=*,txid. A repeat that
found all as it should be has written nothing: then there is no transaction to wait for.';

-- Name: verify_hookify_decisions(text); Type: FUNCTION; Schema: api; Owner: sessionbase_owner

CREATE FUNCTION api.verify_hookify_decisions(INOUT profile_id text DEFAULT NULL::text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION api.verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) OWNER TO sessionbase_owner;

-- Name: FUNCTION verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text); Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON FUNCTION api.verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) IS 'Check that no decision of a profile was changed, removed or moved
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

-- Name: actor(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.actor() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub',
    nullif(pg_catalog.current_setting('sessionbase.actor', true), ''),
    session_user::text
  )
$$;

ALTER FUNCTION app.actor() OWNER TO sessionbase_owner;

-- Name: FUNCTION actor(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.actor() IS 'Who makes a change, for the logs: the profile of the token; for a DBA the setting
sessionbase.actor (the importer says ''import'') or else the login. A token always wins.';

-- Name: chain_hookify_decision(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.chain_hookify_decision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.chain_hookify_decision() OWNER TO sessionbase_owner;

-- Name: FUNCTION chain_hookify_decision(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.chain_hookify_decision() IS 'Trigger: gives a new decision its place in the profile''s chain.
SECURITY DEFINER so that no client role may write the chain''s end.';

-- Name: check_request(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.check_request() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if current_user <> 'anon' then
    perform app.profile_id();
  elsif pg_catalog.current_setting('request.path', true) in (
    '/ui_settings', '/rpc/save_ui_settings', '/rpc/patch_ui_settings'
  ) then
    perform app.raise_error(
      403, 'guest_not_stored', 'Nothing was saved: the server keeps no settings for a guest', null,
      'Guest settings stay on the device; send a token to keep them here'
    );
  end if;

  if pg_catalog.current_setting('request.headers', true)::json ->> 'prefer'
    ~ 'count=(planned|estimated)' then
    perform app.raise_error(
      400, 'invalid_argument', 'Estimated counts are refused: they tell of other profiles'' rows',
      pg_catalog.jsonb_build_object('field', 'Prefer'), 'Use Prefer: count=exact'
    );
  end if;
end
$$;

ALTER FUNCTION app.check_request() OWNER TO sessionbase_owner;

-- Name: FUNCTION check_request(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.check_request() IS 'PostgREST runs it before every request (db-pre-request): a token without a profile is refused, a
guest who wants settings is told that nothing is kept for guests, and the planner''s estimates, which
know no row-level security, are not given away.';

-- Name: guard_misalignment(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.guard_misalignment() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  new.previous_status := old.previous_status;
  if app.is_legal_misalignment_transition(old.status, new.status) then
    new.previous_status := old.status;
  elsif new.status <> old.status
    -- A status that nothing leads to is none: status_known refuses it in its own words.
    and app.is_legal_misalignment_transition(null, new.status) then
    perform app.raise_error(
      409, 'illegal_transition',
      pg_catalog.format('Cannot transition misalignment from %s to %s', old.status, new.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status)
    );
  end if;
  new.updated_at := greatest(
    pg_catalog.clock_timestamp(), old.updated_at + interval '1 microsecond'
  );
  return new;
end
$$;

ALTER FUNCTION app.guard_misalignment() OWNER TO sessionbase_owner;

-- Name: FUNCTION guard_misalignment(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.guard_misalignment() IS 'Trigger: refuses an illegal transition, whoever tries, keeps the previous status and moves
updated_at.';

-- Name: guard_tool_event(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.guard_tool_event() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if old.completed_at is null then
    if new.status = old.status then
      return new;
    elsif app.is_legal_tool_event_transition(old.status, new.status) then
      if new.status in ('succeeded', 'failed') then
        -- A clock that was set back must not make an event finish before it started.
        new.completed_at := greatest(pg_catalog.clock_timestamp(), old.started_at);
      end if;
      return new;
    end if;
  elsif (
    new.session_id, new.thread_id, new.tool_call_id, new.tool_name, new.status, new.arguments,
    new.result, new.error, new.context_events, new.started_at, new.completed_at
  ) is not distinct from (
    old.session_id, old.thread_id, old.tool_call_id, old.tool_name, old.status, old.arguments,
    old.result, old.error, old.context_events, old.started_at, old.completed_at
  ) then
    return new;
  end if;

  if new.status is null or not (
    app.is_legal_tool_event_transition(null, new.status)
    or app.is_legal_tool_event_transition('pending', new.status)
  ) then
    -- Nothing leads to it, so it is no status. Said here because PostgreSQL checks constraints in
    -- the order of their names, and others that it breaks as well come before status_known.
    perform app.refuse_row(
      'tool_events', case when new.status is not null then 'status_known' end, 'status'
    );
  elsif old.completed_at is not null then
    perform app.raise_error(
      409, 'already_finished',
      pg_catalog.format('Tool event %s has already finished as %s', old.id, old.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status, 'status', old.status)
    );
  else
    perform app.raise_error(
      409, 'illegal_transition',
      pg_catalog.format('Cannot transition tool event from %s to %s', old.status, new.status),
      pg_catalog.jsonb_build_object('from', old.status, 'to', new.status)
    );
  end if;
  return null;
end
$$;

ALTER FUNCTION app.guard_tool_event() OWNER TO sessionbase_owner;

-- Name: FUNCTION guard_tool_event(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.guard_tool_event() IS 'Trigger: refuses an illegal transition and any change of a finished event, whoever tries, and sets
the completion time.';

-- Name: hookify_decision_hash(app.hookify_decisions); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) OWNER TO sessionbase_owner;

-- Name: FUNCTION hookify_decision_hash(decision app.hookify_decisions); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) IS 'SHA-256 (hex) over a decision''s columns and the hash of the one before it: the link of the chain.
The columns go in as one JSON array, so that no two rows can give the same text.';

-- Name: is_legal_misalignment_transition(text, text); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.is_legal_misalignment_transition(from_status text, to_status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select coalesce(
    case is_legal_misalignment_transition.from_status
      when 'open' then is_legal_misalignment_transition.to_status in ('acknowledged', 'dismissed')
      when 'acknowledged' then is_legal_misalignment_transition.to_status in ('dismissed', 'open')
      when 'dismissed' then is_legal_misalignment_transition.to_status in ('acknowledged', 'open')
    end,
    is_legal_misalignment_transition.from_status is null
    and is_legal_misalignment_transition.to_status in ('open', 'acknowledged', 'dismissed')
  )
$$;

ALTER FUNCTION app.is_legal_misalignment_transition(from_status text, to_status text) OWNER TO sessionbase_owner;

-- Name: FUNCTION is_legal_misalignment_transition(from_status text, to_status text); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.is_legal_misalignment_transition(from_status text, to_status text) IS 'The state machine of a misalignment. From null: the statuses that one may be ingested with.';

-- Name: is_legal_tool_event_transition(text, text); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.is_legal_tool_event_transition(from_status text, to_status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select coalesce(
    case is_legal_tool_event_transition.from_status
      when 'pending' then
        is_legal_tool_event_transition.to_status in ('executing', 'succeeded', 'failed')
      when 'executing' then is_legal_tool_event_transition.to_status in ('succeeded', 'failed')
    end,
    is_legal_tool_event_transition.from_status is null
    and is_legal_tool_event_transition.to_status in ('pending', 'executing')
  )
$$;

ALTER FUNCTION app.is_legal_tool_event_transition(from_status text, to_status text) OWNER TO sessionbase_owner;

-- Name: FUNCTION is_legal_tool_event_transition(from_status text, to_status text); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.is_legal_tool_event_transition(from_status text, to_status text) IS 'The state machine of a tool event. From null: the statuses that an event may be recorded with.';

-- Name: json_merge_patch(jsonb, jsonb); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.json_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
  if pg_catalog.jsonb_typeof(json_merge_patch.patch) <> 'object' then
    return json_merge_patch.patch;
  end if;
  -- All members in one pass: one at a time would copy the document as often as it has members.
  return (
    select coalesce(
      pg_catalog.jsonb_object_agg(
        coalesce(kept.key, given.key),
        case
          when given.key is null then kept.value
          else app.json_merge_patch(kept.value, given.value)
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
    ) as kept
    full join pg_catalog.jsonb_each(json_merge_patch.patch) as given on kept.key = given.key
    where given.value is distinct from 'null'
  );
end
$$;

ALTER FUNCTION app.json_merge_patch(target jsonb, patch jsonb) OWNER TO sessionbase_owner;

-- Name: FUNCTION json_merge_patch(target jsonb, patch jsonb); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.json_merge_patch(target jsonb, patch jsonb) IS 'Apply a JSON merge patch as RFC 7396, section 2, says.';

-- Name: log_misalignment_transition(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.log_misalignment_transition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- The row lock of the misalignment, which the statement holds, keeps the numbers apart.
  insert into app.misalignment_transitions (
    profile_id, session_id, misalignment_id, number, from_status, to_status
  )
  select
    new.profile_id, new.session_id, new.id,
    coalesce(max(entry.number), 0) + 1,
    case when tg_op = 'UPDATE' then old.status end,
    new.status
  from app.misalignment_transitions as entry
  where entry.profile_id = new.profile_id
    and entry.session_id = new.session_id
    and entry.misalignment_id = new.id;
  return null;
end
$$;

ALTER FUNCTION app.log_misalignment_transition() OWNER TO sessionbase_owner;

-- Name: FUNCTION log_misalignment_transition(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.log_misalignment_transition() IS 'Trigger: logs the status that a misalignment enters.
SECURITY DEFINER so that no client role needs INSERT on the log, and none can forge an entry.';

-- Name: log_tool_event_transition(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.log_tool_event_transition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if tg_level = 'STATEMENT' then
    -- Once for all rows of an INSERT, which may be an import of many.
    insert into app.tool_event_transitions (profile_id, tool_event_id, to_status, changed_by)
    select started.profile_id, started.id, started.status, actor.name
    from started, (select app.actor() as name) as actor;
  else
    insert into app.tool_event_transitions (profile_id, tool_event_id, from_status, to_status)
    values (new.profile_id, new.id, old.status, new.status);
  end if;
  return null;
end
$$;

ALTER FUNCTION app.log_tool_event_transition() OWNER TO sessionbase_owner;

-- Name: FUNCTION log_tool_event_transition(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.log_tool_event_transition() IS 'Trigger: logs the status that an event enters.
SECURITY DEFINER so that no client role needs INSERT on the log, and none can forge an entry.';

-- Name: raise_error(integer, text, text, jsonb, text); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.raise_error(status integer, code text, message text, details jsonb DEFAULT NULL::jsonb, hint text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  raise sqlstate 'PGRST' using
    message = pg_catalog.json_build_object(
      'code', raise_error.code,
      'message', raise_error.message,
      'details', raise_error.details::text,
      'hint', raise_error.hint
    )::text,
    detail = pg_catalog.json_build_object(
      'status', raise_error.status,
      'headers',
      case
        when raise_error.status = 401 then pg_catalog.json_build_object('WWW-Authenticate', 'Bearer')
        else pg_catalog.json_build_object()
      end
    )::text;
end
$$;

ALTER FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) OWNER TO sessionbase_owner;

-- Name: FUNCTION raise_error(status integer, code text, message text, details jsonb, hint text); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) IS 'Raise an error that PostgREST turns into this HTTP status and a body with all four keys.
The text of a caller only ever gets into the JSON body: PostgREST 12 would copy the message of a
PTxyz error into the status line unescaped.';

-- Name: refuse_bulk_change(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.refuse_bulk_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if current_user = 'authenticated' and (select count(*) from changed_rows) > 1 then
    perform app.raise_error(
      400, 'invalid_argument', 'The request would change several rows; nothing was changed', null,
      pg_catalog.format('Name one row: ?%s=eq.…', tg_argv[0])
    );
  end if;
  return null;
end
$$;

ALTER FUNCTION app.refuse_bulk_change() OWNER TO sessionbase_owner;

-- Name: FUNCTION refuse_bulk_change(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.refuse_bulk_change() IS 'Trigger of the tables that clients write directly: a forgotten filter must not cost a profile all
its rows. PostgREST takes PATCH and DELETE without one as meant for every row.';

-- Name: refuse_change(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  raise exception '% of %.% is refused: it is append-only', tg_op, tg_table_schema, tg_table_name
    using errcode = 'restrict_violation';
end
$$;

ALTER FUNCTION app.refuse_change() OWNER TO sessionbase_owner;

-- Name: FUNCTION refuse_change(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.refuse_change() IS 'Trigger of append-only tables: refuses UPDATE, DELETE and TRUNCATE, whoever tries.';

-- Name: refuse_row(text, text, text, jsonb); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.refuse_row(table_name text, constraint_name text, column_name text, context jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  field text := nullif(refuse_row.column_name, '');
  violated record;
begin
  select
    pg_catalog.obj_description(con.oid, 'pg_constraint') as rule,
    attribute.attname as column_name
  into violated
  from pg_catalog.pg_constraint as con
  left join pg_catalog.pg_attribute as attribute
    on attribute.attrelid = con.conrelid
    and attribute.attnum = con.conkey[pg_catalog.cardinality(con.conkey)]
  where con.conrelid = pg_catalog.format('app.%I', refuse_row.table_name)::regclass
    and con.conname = refuse_row.constraint_name
    and con.contype = 'c';
  field := coalesce(field, violated.column_name);

  perform app.raise_error(
    case when refuse_row.constraint_name like '%\_size' then 413 else 400 end,
    case
      when refuse_row.constraint_name like '%\_size' then 'payload_too_large'
      else 'invalid_argument'
    end,
    coalesce(violated.rule, field || ' is required'),
    refuse_row.context || pg_catalog.jsonb_build_object('field', field)
  );
end
$$;

ALTER FUNCTION app.refuse_row(table_name text, constraint_name text, column_name text, context jsonb) OWNER TO sessionbase_owner;

-- Name: FUNCTION refuse_row(table_name text, constraint_name text, column_name text, context jsonb); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.refuse_row(table_name text, constraint_name text, column_name text, context jsonb) IS 'Tell a caller which constraint its row breaks, in the words of the comment on that constraint.
A constraint whose name ends in _size gives 413 payload_too_large, any other 400 invalid_argument.';

-- Name: refuse_stale_ui_settings(bigint); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.refuse_stale_ui_settings(expected_revision bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  stored app.ui_settings;
begin
  select * into stored
  from app.ui_settings as current_settings
  where current_settings.profile_id = app.profile_id();
  perform app.raise_error(
    409, 'stale_revision',
    pg_catalog.format(
      'The settings are at revision %s, not %s; nothing was saved',
      coalesce(stored.revision, 0), refuse_stale_ui_settings.expected_revision
    ),
    pg_catalog.jsonb_build_object(
      'revision', coalesce(stored.revision, 0), 'settings', stored.settings
    ),
    'Merge your change into the settings in details, or send only what changed to patch_ui_settings'
  );
end
$$;

ALTER FUNCTION app.refuse_stale_ui_settings(expected_revision bigint) OWNER TO sessionbase_owner;

-- Name: FUNCTION refuse_stale_ui_settings(expected_revision bigint); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.refuse_stale_ui_settings(expected_revision bigint) IS 'Tell a caller that its revision is not the stored one, and what is stored. Revision 0: nothing.';

-- Name: revise_ui_settings(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.revise_ui_settings() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  new.revision := old.revision + 1;
  new.updated_at := greatest(
    pg_catalog.clock_timestamp(), old.updated_at + interval '1 microsecond'
  );
  return new;
end
$$;

ALTER FUNCTION app.revise_ui_settings() OWNER TO sessionbase_owner;

-- Name: FUNCTION revise_ui_settings(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.revise_ui_settings() IS 'Trigger: every change, whoever makes it, is a new revision.';

-- Name: start_misalignment(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.start_misalignment() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  new.updated_at := coalesce(new.updated_at, new.created_at);
  return new;
end
$$;

ALTER FUNCTION app.start_misalignment() OWNER TO sessionbase_owner;

-- Name: FUNCTION start_misalignment(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.start_misalignment() IS 'Trigger: a new misalignment was last changed when it was created.';

-- Name: touch_session_repo_binding(); Type: FUNCTION; Schema: app; Owner: sessionbase_owner

CREATE FUNCTION app.touch_session_repo_binding() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  new.updated_at := greatest(
    pg_catalog.clock_timestamp(), old.updated_at + interval '1 microsecond'
  );
  return new;
end
$$;

ALTER FUNCTION app.touch_session_repo_binding() OWNER TO sessionbase_owner;

-- Name: FUNCTION touch_session_repo_binding(); Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON FUNCTION app.touch_session_repo_binding() IS 'Trigger: updated_at moves at each set, even if nothing else changes.';

-- Name: misalignment_transitions; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.misalignment_transitions (
    profile_id text NOT NULL,
    session_id text NOT NULL,
    misalignment_id text NOT NULL,
    number integer NOT NULL,
    from_status text,
    to_status text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    changed_by text DEFAULT app.actor() NOT NULL,
    CONSTRAINT from_status_unless_first CHECK (((number = 1) = (from_status IS NULL))),
    CONSTRAINT number_starts_at_one CHECK ((number >= 1))
);
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN session_id SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN misalignment_id SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN number SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN from_status SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN to_status SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN changed_at SET STATISTICS 0;
ALTER TABLE ONLY app.misalignment_transitions ALTER COLUMN changed_by SET STATISTICS 0;

ALTER TABLE app.misalignment_transitions OWNER TO sessionbase_owner;

-- Name: TABLE misalignment_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.misalignment_transitions IS 'Every status that a misalignment entered: append-only, written by a trigger.';

-- Name: COLUMN misalignment_transitions.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.profile_id IS 'The profile of the misalignment';

-- Name: COLUMN misalignment_transitions.session_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.session_id IS 'The session of the misalignment';

-- Name: COLUMN misalignment_transitions.misalignment_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.misalignment_id IS 'The misalignment';

-- Name: COLUMN misalignment_transitions.number; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.number IS '1, 2, 3 … for each misalignment';

-- Name: COLUMN misalignment_transitions.from_status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.from_status IS 'The status before; null at the start';

-- Name: COLUMN misalignment_transitions.to_status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.to_status IS 'The status entered';

-- Name: COLUMN misalignment_transitions.changed_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.changed_at IS 'When';

-- Name: COLUMN misalignment_transitions.changed_by; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.misalignment_transitions.changed_by IS 'Who: a profile or a database login';

-- Name: CONSTRAINT from_status_unless_first ON misalignment_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT from_status_unless_first ON app.misalignment_transitions IS 'Only the first entry has no status before it';

-- Name: CONSTRAINT number_starts_at_one ON misalignment_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT number_starts_at_one ON app.misalignment_transitions IS 'Transitions are numbered from 1';

-- Name: misalignment_transitions; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.misalignment_transitions WITH (security_invoker='true') AS
 SELECT profile_id,
    session_id,
    misalignment_id,
    number,
    from_status,
    to_status,
    changed_at,
    changed_by
   FROM app.misalignment_transitions entry;

ALTER VIEW api.misalignment_transitions OWNER TO sessionbase_owner;

-- Name: VIEW misalignment_transitions; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.misalignment_transitions IS 'Every status that a misalignment entered, when and by whom
A profile sees its own, an auditor everybody''s.';

-- Name: COLUMN misalignment_transitions.profile_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.profile_id IS 'The profile that the misalignment belongs to';

-- Name: COLUMN misalignment_transitions.session_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.session_id IS 'The session that the misalignment belongs to';

-- Name: COLUMN misalignment_transitions.misalignment_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.misalignment_id IS 'The misalignment';

-- Name: COLUMN misalignment_transitions.number; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.number IS '1, 2, 3 … for each misalignment, in the order made';

-- Name: COLUMN misalignment_transitions.from_status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.from_status IS 'The status before; null at the start';

-- Name: COLUMN misalignment_transitions.to_status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.to_status IS 'The status entered';

-- Name: COLUMN misalignment_transitions.changed_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.changed_at IS 'When';

-- Name: COLUMN misalignment_transitions.changed_by; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.misalignment_transitions.changed_by IS 'Who: a profile or a database login';

-- Name: tool_event_transitions; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.tool_event_transitions (
    profile_id text NOT NULL,
    tool_event_id text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    changed_by text DEFAULT app.actor() NOT NULL
);
ALTER TABLE ONLY app.tool_event_transitions ALTER COLUMN tool_event_id SET STATISTICS 0;
ALTER TABLE ONLY app.tool_event_transitions ALTER COLUMN from_status SET STATISTICS 0;
ALTER TABLE ONLY app.tool_event_transitions ALTER COLUMN to_status SET STATISTICS 0;
ALTER TABLE ONLY app.tool_event_transitions ALTER COLUMN changed_at SET STATISTICS 0;
ALTER TABLE ONLY app.tool_event_transitions ALTER COLUMN changed_by SET STATISTICS 0;

ALTER TABLE app.tool_event_transitions OWNER TO sessionbase_owner;

-- Name: TABLE tool_event_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.tool_event_transitions IS 'Every status that a tool event entered: append-only, written by a trigger.';

-- Name: COLUMN tool_event_transitions.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.profile_id IS 'The profile of the event';

-- Name: COLUMN tool_event_transitions.tool_event_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.tool_event_id IS 'The event';

-- Name: COLUMN tool_event_transitions.from_status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.from_status IS 'The status before; null at the start';

-- Name: COLUMN tool_event_transitions.to_status; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.to_status IS 'The status entered';

-- Name: COLUMN tool_event_transitions.changed_at; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.changed_at IS 'When';

-- Name: COLUMN tool_event_transitions.changed_by; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.tool_event_transitions.changed_by IS 'Who: a profile, "import", or a database login';

-- Name: tool_event_transitions; Type: VIEW; Schema: api; Owner: sessionbase_owner

CREATE VIEW api.tool_event_transitions WITH (security_invoker='true') AS
 SELECT profile_id,
    tool_event_id,
    from_status,
    to_status,
    changed_at,
    changed_by
   FROM app.tool_event_transitions entry;

ALTER VIEW api.tool_event_transitions OWNER TO sessionbase_owner;

-- Name: VIEW tool_event_transitions; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON VIEW api.tool_event_transitions IS 'Every status that a tool event entered, when and by whom
A profile sees its own, an auditor everybody''s.';

-- Name: COLUMN tool_event_transitions.profile_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.profile_id IS 'The profile that the event belongs to';

-- Name: COLUMN tool_event_transitions.tool_event_id; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.tool_event_id IS 'The event';

-- Name: COLUMN tool_event_transitions.from_status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.from_status IS 'The status before; null at the start';

-- Name: COLUMN tool_event_transitions.to_status; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.to_status IS 'The status entered';

-- Name: COLUMN tool_event_transitions.changed_at; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.changed_at IS 'When';

-- Name: COLUMN tool_event_transitions.changed_by; Type: COMMENT; Schema: api; Owner: sessionbase_owner

COMMENT ON COLUMN api.tool_event_transitions.changed_by IS 'Who: a profile, "import" for a legacy file, or a database login';

-- Name: hookify_chains; Type: TABLE; Schema: app; Owner: sessionbase_owner

CREATE TABLE app.hookify_chains (
    profile_id text NOT NULL,
    length bigint DEFAULT 0 NOT NULL,
    head_hash text DEFAULT repeat('0'::text, 64) NOT NULL,
    CONSTRAINT head_hash_is_sha256 CHECK ((head_hash ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT length_not_negative CHECK ((length >= 0))
);
ALTER TABLE ONLY app.hookify_chains ALTER COLUMN length SET STATISTICS 0;
ALTER TABLE ONLY app.hookify_chains ALTER COLUMN head_hash SET STATISTICS 0;

ALTER TABLE app.hookify_chains OWNER TO sessionbase_owner;

-- Name: TABLE hookify_chains; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON TABLE app.hookify_chains IS 'The end of each profile''s chain of decisions. Its row lock puts concurrent decisions in one order;
its length and hash show that the newest rows were not cut off.';

-- Name: COLUMN hookify_chains.profile_id; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_chains.profile_id IS 'The profile whose chain it is';

-- Name: COLUMN hookify_chains.length; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_chains.length IS 'How many decisions the chain has';

-- Name: COLUMN hookify_chains.head_hash; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON COLUMN app.hookify_chains.head_hash IS 'row_hash of the newest decision; 64 zeros before the first';

-- Name: api_files; Type: TABLE; Schema: ops; Owner: sessionbase_owner

CREATE TABLE ops.api_files (
    file text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sha256_is_hex CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text))
);

ALTER TABLE ops.api_files OWNER TO sessionbase_owner;

-- Name: TABLE api_files; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON TABLE ops.api_files IS 'The files of sql/api that schema api was last made from.';

-- Name: COLUMN api_files.file; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.api_files.file IS 'The file''s path below sql/.';

-- Name: COLUMN api_files.sha256; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.api_files.sha256 IS 'SHA-256 of the file''s bytes, in hex.';

-- Name: COLUMN api_files.applied_at; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.api_files.applied_at IS 'When schema api was brought to what it says.';

-- Name: migrations; Type: TABLE; Schema: ops; Owner: sessionbase_owner

CREATE TABLE ops.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    chain text NOT NULL,
    applied_by text DEFAULT SESSION_USER NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    duration_ms integer NOT NULL,
    CONSTRAINT chain_is_hex CHECK ((chain ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT duration_is_not_negative CHECK ((duration_ms >= 0)),
    CONSTRAINT sha256_is_hex CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT version_is_positive CHECK ((version > 0))
);

ALTER TABLE ops.migrations OWNER TO sessionbase_owner;

-- Name: TABLE migrations; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON TABLE ops.migrations IS 'One row for each applied file of sql/migrations.';

-- Name: COLUMN migrations.version; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.version IS 'The number that the file''s name starts with.';

-- Name: COLUMN migrations.name; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.name IS 'The rest of the file''s name, without .sql.';

-- Name: COLUMN migrations.sha256; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.sha256 IS 'SHA-256 of the file''s bytes, in hex.';

-- Name: COLUMN migrations.chain; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.chain IS 'SHA-256 of the previous row''s chain followed by this row''s sha256 (both in hex): it shows an edit of the history.';

-- Name: COLUMN migrations.applied_by; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.applied_by IS 'The login that ran it.';

-- Name: COLUMN migrations.applied_at; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.applied_at IS 'When its transaction began.';

-- Name: COLUMN migrations.duration_ms; Type: COMMENT; Schema: ops; Owner: sessionbase_owner

COMMENT ON COLUMN ops.migrations.duration_ms IS 'How long its statements took, in milliseconds.';

-- Name: hookify_chains hookify_chains_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.hookify_chains
    ADD CONSTRAINT hookify_chains_pkey PRIMARY KEY (profile_id);

-- Name: hookify_decisions hookify_decisions_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.hookify_decisions
    ADD CONSTRAINT hookify_decisions_pkey PRIMARY KEY (profile_id, id);

-- Name: misalignment_transitions misalignment_transitions_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.misalignment_transitions
    ADD CONSTRAINT misalignment_transitions_pkey PRIMARY KEY (profile_id, session_id, misalignment_id, number);

-- Name: misalignments misalignments_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.misalignments
    ADD CONSTRAINT misalignments_pkey PRIMARY KEY (profile_id, session_id, id);

-- Name: hookify_decisions position_unique; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.hookify_decisions
    ADD CONSTRAINT position_unique UNIQUE (profile_id, "position");

-- Name: session_repo_bindings session_repo_bindings_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.session_repo_bindings
    ADD CONSTRAINT session_repo_bindings_pkey PRIMARY KEY (profile_id, session_id);

-- Name: todos todos_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.todos
    ADD CONSTRAINT todos_pkey PRIMARY KEY (profile_id, id);

-- Name: tool_event_transitions tool_event_transitions_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.tool_event_transitions
    ADD CONSTRAINT tool_event_transitions_pkey PRIMARY KEY (profile_id, tool_event_id, to_status);

-- Name: tool_events tool_events_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.tool_events
    ADD CONSTRAINT tool_events_pkey PRIMARY KEY (profile_id, id);

-- Name: ui_settings ui_settings_pkey; Type: CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.ui_settings
    ADD CONSTRAINT ui_settings_pkey PRIMARY KEY (profile_id);

-- Name: api_files api_files_pkey; Type: CONSTRAINT; Schema: ops; Owner: sessionbase_owner

ALTER TABLE ONLY ops.api_files
    ADD CONSTRAINT api_files_pkey PRIMARY KEY (file);

-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: ops; Owner: sessionbase_owner

ALTER TABLE ONLY ops.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);

-- Name: hookify_decisions_by_session; Type: INDEX; Schema: app; Owner: sessionbase_owner

CREATE INDEX hookify_decisions_by_session ON app.hookify_decisions USING btree (profile_id, session_id, "position");

-- Name: misalignments_by_session; Type: INDEX; Schema: app; Owner: sessionbase_owner

CREATE INDEX misalignments_by_session ON app.misalignments USING btree (profile_id, session_id, created_at, id);

-- Name: todos_by_age; Type: INDEX; Schema: app; Owner: sessionbase_owner

CREATE INDEX todos_by_age ON app.todos USING btree (profile_id, created_at, id);

-- Name: tool_events_by_session; Type: INDEX; Schema: app; Owner: sessionbase_owner

CREATE INDEX tool_events_by_session ON app.tool_events USING btree (profile_id, session_id, started_at, id);

-- Name: tool_events_by_tool_call; Type: INDEX; Schema: app; Owner: sessionbase_owner

CREATE INDEX tool_events_by_tool_call ON app.tool_events USING btree (profile_id, tool_call_id, started_at) WHERE (tool_call_id IS NOT NULL);

-- Name: hookify_decisions append_only; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON app.hookify_decisions FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();

-- Name: misalignment_transitions append_only; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON app.misalignment_transitions FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();

-- Name: tool_event_transitions append_only; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON app.tool_event_transitions FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();

-- Name: hookify_decisions chain; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER chain BEFORE INSERT ON app.hookify_decisions FOR EACH ROW EXECUTE FUNCTION app.chain_hookify_decision();

-- Name: misalignments guard_transition; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER guard_transition BEFORE UPDATE ON app.misalignments FOR EACH ROW EXECUTE FUNCTION app.guard_misalignment();

-- Name: tool_events guard_transition; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER guard_transition BEFORE UPDATE ON app.tool_events FOR EACH ROW EXECUTE FUNCTION app.guard_tool_event();

-- Name: misalignments log_start; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER log_start AFTER INSERT ON app.misalignments FOR EACH ROW EXECUTE FUNCTION app.log_misalignment_transition();

-- Name: tool_events log_start; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER log_start AFTER INSERT ON app.tool_events REFERENCING NEW TABLE AS started FOR EACH STATEMENT EXECUTE FUNCTION app.log_tool_event_transition();

-- Name: misalignments log_transition; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER log_transition AFTER UPDATE OF status ON app.misalignments FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION app.log_misalignment_transition();

-- Name: tool_events log_transition; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER log_transition AFTER UPDATE OF status ON app.tool_events FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION app.log_tool_event_transition();

-- Name: session_repo_bindings refuse_bulk_change; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER refuse_bulk_change AFTER DELETE ON app.session_repo_bindings REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_bulk_change('session_id');

-- Name: todos refuse_bulk_change; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER refuse_bulk_change AFTER UPDATE ON app.todos REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_bulk_change('id');

-- Name: ui_settings revise; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER revise BEFORE UPDATE ON app.ui_settings FOR EACH ROW EXECUTE FUNCTION app.revise_ui_settings();

-- Name: misalignments start; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER start BEFORE INSERT ON app.misalignments FOR EACH ROW EXECUTE FUNCTION app.start_misalignment();

-- Name: session_repo_bindings touch; Type: TRIGGER; Schema: app; Owner: sessionbase_owner

CREATE TRIGGER touch BEFORE UPDATE ON app.session_repo_bindings FOR EACH ROW EXECUTE FUNCTION app.touch_session_repo_binding();

-- Name: misalignment_transitions misalignment_exists; Type: FK CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.misalignment_transitions
    ADD CONSTRAINT misalignment_exists FOREIGN KEY (profile_id, session_id, misalignment_id) REFERENCES app.misalignments(profile_id, session_id, id);

-- Name: CONSTRAINT misalignment_exists ON misalignment_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT misalignment_exists ON app.misalignment_transitions IS 'A log row belongs to a misalignment';

-- Name: tool_event_transitions tool_event_exists; Type: FK CONSTRAINT; Schema: app; Owner: sessionbase_owner

ALTER TABLE ONLY app.tool_event_transitions
    ADD CONSTRAINT tool_event_exists FOREIGN KEY (profile_id, tool_event_id) REFERENCES app.tool_events(profile_id, id);

-- Name: CONSTRAINT tool_event_exists ON tool_event_transitions; Type: COMMENT; Schema: app; Owner: sessionbase_owner

COMMENT ON CONSTRAINT tool_event_exists ON app.tool_event_transitions IS 'A log row belongs to an event';

-- Name: session_repo_bindings delete_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY delete_own ON app.session_repo_bindings FOR DELETE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: todos delete_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY delete_own ON app.todos FOR DELETE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: hookify_chains; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.hookify_chains ENABLE ROW LEVEL SECURITY;

-- Name: hookify_decisions; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.hookify_decisions ENABLE ROW LEVEL SECURITY;

-- Name: hookify_decisions insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.hookify_decisions FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: misalignments insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.misalignments FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: session_repo_bindings insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.session_repo_bindings FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: todos insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.todos FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: tool_events insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.tool_events FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: ui_settings insert_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY insert_own ON app.ui_settings FOR INSERT TO authenticated WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: misalignment_transitions; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.misalignment_transitions ENABLE ROW LEVEL SECURITY;

-- Name: misalignments; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.misalignments ENABLE ROW LEVEL SECURITY;

-- Name: hookify_chains select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.hookify_chains FOR SELECT TO auditor USING (true);

-- Name: hookify_decisions select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.hookify_decisions FOR SELECT TO auditor USING (true);

-- Name: misalignment_transitions select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.misalignment_transitions FOR SELECT TO auditor USING (true);

-- Name: misalignments select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.misalignments FOR SELECT TO sessionbase_replicator USING (true);

-- Name: session_repo_bindings select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.session_repo_bindings FOR SELECT TO sessionbase_replicator USING (true);

-- Name: todos select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.todos FOR SELECT TO sessionbase_replicator USING (true);

-- Name: tool_event_transitions select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.tool_event_transitions FOR SELECT TO auditor USING (true);

-- Name: tool_events select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.tool_events FOR SELECT TO sessionbase_replicator USING (true);

-- Name: ui_settings select_all; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_all ON app.ui_settings FOR SELECT TO sessionbase_replicator USING (true);

-- Name: hookify_chains select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.hookify_chains FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: hookify_decisions select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.hookify_decisions FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: misalignment_transitions select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.misalignment_transitions FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: misalignments select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.misalignments FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: session_repo_bindings select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.session_repo_bindings FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: todos select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.todos FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: tool_event_transitions select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.tool_event_transitions FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: tool_events select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.tool_events FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: ui_settings select_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY select_own ON app.ui_settings FOR SELECT TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: session_repo_bindings; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.session_repo_bindings ENABLE ROW LEVEL SECURITY;

-- Name: todos; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.todos ENABLE ROW LEVEL SECURITY;

-- Name: tool_event_transitions; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.tool_event_transitions ENABLE ROW LEVEL SECURITY;

-- Name: tool_events; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.tool_events ENABLE ROW LEVEL SECURITY;

-- Name: ui_settings; Type: ROW SECURITY; Schema: app; Owner: sessionbase_owner

ALTER TABLE app.ui_settings ENABLE ROW LEVEL SECURITY;

-- Name: misalignments update_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY update_own ON app.misalignments FOR UPDATE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id))) WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: session_repo_bindings update_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY update_own ON app.session_repo_bindings FOR UPDATE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id))) WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: todos update_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY update_own ON app.todos FOR UPDATE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id))) WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: tool_events update_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY update_own ON app.tool_events FOR UPDATE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id))) WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: ui_settings update_own; Type: POLICY; Schema: app; Owner: sessionbase_owner

CREATE POLICY update_own ON app.ui_settings FOR UPDATE TO authenticated USING ((profile_id = ( SELECT app.profile_id() AS profile_id))) WITH CHECK ((profile_id = ( SELECT app.profile_id() AS profile_id)));

-- Name: api_files; Type: ROW SECURITY; Schema: ops; Owner: sessionbase_owner

ALTER TABLE ops.api_files ENABLE ROW LEVEL SECURITY;

-- Name: migrations; Type: ROW SECURITY; Schema: ops; Owner: sessionbase_owner

ALTER TABLE ops.migrations ENABLE ROW LEVEL SECURITY;

-- Name: SCHEMA api; Type: ACL; Schema: -; Owner: sessionbase_owner

GRANT USAGE ON SCHEMA api TO anon;
GRANT USAGE ON SCHEMA api TO authenticated;
GRANT USAGE ON SCHEMA api TO auditor;

-- Name: SCHEMA app; Type: ACL; Schema: -; Owner: sessionbase_owner

GRANT USAGE ON SCHEMA app TO anon;
GRANT USAGE ON SCHEMA app TO authenticated;
GRANT USAGE ON SCHEMA app TO auditor;
GRANT USAGE ON SCHEMA app TO sessionbase_replicator;

-- Name: FUNCTION assert_check(holds boolean, table_name text, constraint_name text); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.assert_check(holds boolean, table_name text, constraint_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.assert_check(holds boolean, table_name text, constraint_name text) TO authenticated;

-- Name: FUNCTION profile_id(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.profile_id() FROM PUBLIC;
GRANT ALL ON FUNCTION app.profile_id() TO authenticated;
GRANT ALL ON FUNCTION app.profile_id() TO auditor;

-- Name: TABLE todos; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT,DELETE ON TABLE app.todos TO authenticated;
GRANT SELECT ON TABLE app.todos TO sessionbase_replicator;

-- Name: COLUMN todos.id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(id) ON TABLE app.todos TO authenticated;

-- Name: COLUMN todos.text; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(text),UPDATE(text) ON TABLE app.todos TO authenticated;

-- Name: COLUMN todos.completed; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(completed),UPDATE(completed) ON TABLE app.todos TO authenticated;

-- Name: TABLE todos; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.todos TO authenticated;

-- Name: COLUMN todos.id; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT INSERT(id) ON TABLE api.todos TO authenticated;

-- Name: COLUMN todos.text; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT INSERT(text),UPDATE(text) ON TABLE api.todos TO authenticated;

-- Name: COLUMN todos.completed; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT INSERT(completed),UPDATE(completed) ON TABLE api.todos TO authenticated;

-- Name: FUNCTION delete_todo(id uuid); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.delete_todo(id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.delete_todo(id uuid) TO authenticated;

-- Name: TABLE misalignments; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.misalignments TO authenticated;
GRANT SELECT ON TABLE app.misalignments TO sessionbase_replicator;

-- Name: COLUMN misalignments.session_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(session_id) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(id) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.rule_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(rule_id),UPDATE(rule_id) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.title; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(title),UPDATE(title) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.summary; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(summary),UPDATE(summary) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.severity; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(severity),UPDATE(severity) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.status; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(status),UPDATE(status) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.event_range; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(event_range),UPDATE(event_range) ON TABLE app.misalignments TO authenticated;

-- Name: COLUMN misalignments.evidence; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(evidence),UPDATE(evidence) ON TABLE app.misalignments TO authenticated;

-- Name: TABLE misalignments; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.misalignments TO authenticated;

-- Name: FUNCTION ingest_misalignments(session_id text, candidates jsonb); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.ingest_misalignments(session_id text, candidates jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.ingest_misalignments(session_id text, candidates jsonb) TO authenticated;

-- Name: TABLE ui_settings; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.ui_settings TO authenticated;
GRANT SELECT ON TABLE app.ui_settings TO sessionbase_replicator;

-- Name: COLUMN ui_settings.settings; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(settings),UPDATE(settings) ON TABLE app.ui_settings TO authenticated;

-- Name: TABLE ui_settings; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.ui_settings TO authenticated;

-- Name: FUNCTION patch_ui_settings(patch jsonb, expected_revision bigint); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.patch_ui_settings(patch jsonb, expected_revision bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION api.patch_ui_settings(patch jsonb, expected_revision bigint) TO authenticated;

-- Name: TABLE hookify_decisions; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.hookify_decisions TO authenticated;
GRANT SELECT ON TABLE app.hookify_decisions TO auditor;

-- Name: COLUMN hookify_decisions.id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(id) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.session_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(session_id) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.source; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(source) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.content_hash; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(content_hash) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.severity; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(severity) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.blocked; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(blocked) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.rules; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(rules) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.message; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(message) ON TABLE app.hookify_decisions TO authenticated;

-- Name: COLUMN hookify_decisions.annotations; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(annotations) ON TABLE app.hookify_decisions TO authenticated;

-- Name: TABLE hookify_decisions; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.hookify_decisions TO authenticated;
GRANT SELECT ON TABLE api.hookify_decisions TO auditor;

-- Name: FUNCTION record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.record_hookify_decision(session_id text, source text, severity text, blocked boolean, rules jsonb, content text, content_hash text, message text, annotations text, id text) TO authenticated;

-- Name: TABLE tool_events; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.tool_events TO authenticated;
GRANT SELECT ON TABLE app.tool_events TO sessionbase_replicator;

-- Name: COLUMN tool_events.id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(id) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.session_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(session_id) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.thread_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(thread_id) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.tool_call_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(tool_call_id) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.tool_name; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(tool_name) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.status; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(status),UPDATE(status) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.arguments; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(arguments) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.result; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT UPDATE(result) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.error; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT UPDATE(error) ON TABLE app.tool_events TO authenticated;

-- Name: COLUMN tool_events.context_events; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(context_events),UPDATE(context_events) ON TABLE app.tool_events TO authenticated;

-- Name: TABLE tool_events; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.tool_events TO authenticated;

-- Name: FUNCTION record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.record_tool_event(session_id text, tool_name text, arguments jsonb, id text, thread_id text, tool_call_id text, status text, context_events jsonb) TO authenticated;

-- Name: FUNCTION save_ui_settings(settings jsonb, expected_revision bigint); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.save_ui_settings(settings jsonb, expected_revision bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION api.save_ui_settings(settings jsonb, expected_revision bigint) TO authenticated;

-- Name: FUNCTION session_context(session_id text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.session_context(session_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.session_context(session_id text) TO authenticated;

-- Name: TABLE session_repo_bindings; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT,DELETE ON TABLE app.session_repo_bindings TO authenticated;
GRANT SELECT ON TABLE app.session_repo_bindings TO sessionbase_replicator;

-- Name: COLUMN session_repo_bindings.session_id; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(session_id) ON TABLE app.session_repo_bindings TO authenticated;

-- Name: COLUMN session_repo_bindings.asset_path; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(asset_path),UPDATE(asset_path) ON TABLE app.session_repo_bindings TO authenticated;

-- Name: COLUMN session_repo_bindings.root_dir; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT INSERT(root_dir),UPDATE(root_dir) ON TABLE app.session_repo_bindings TO authenticated;

-- Name: TABLE session_repo_bindings; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT,DELETE ON TABLE api.session_repo_bindings TO authenticated;

-- Name: FUNCTION set_session_repo_binding(session_id text, asset_path text, root_dir text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.set_session_repo_binding(session_id text, asset_path text, root_dir text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.set_session_repo_binding(session_id text, asset_path text, root_dir text) TO authenticated;

-- Name: FUNCTION toggle_todo(id uuid); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.toggle_todo(id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.toggle_todo(id uuid) TO authenticated;

-- Name: FUNCTION transition_misalignment(session_id text, id text, to_status text, expected_status text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.transition_misalignment(session_id text, id text, to_status text, expected_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.transition_misalignment(session_id text, id text, to_status text, expected_status text) TO authenticated;

-- Name: FUNCTION transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.transition_tool_event(id text, to_status text, result jsonb, error text, context_events jsonb, expected_status text) TO authenticated;

-- Name: FUNCTION transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.transition_tool_event_by_call(tool_call_id text, to_status text, session_id text, result jsonb, error text, context_events jsonb, expected_status text) TO authenticated;

-- Name: FUNCTION txid(record); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.txid(record) FROM PUBLIC;
GRANT ALL ON FUNCTION api.txid(record) TO authenticated;

-- Name: FUNCTION verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text); Type: ACL; Schema: api; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION api.verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) TO authenticated;
GRANT ALL ON FUNCTION api.verify_hookify_decisions(INOUT profile_id text, OUT valid boolean, OUT checked bigint, OUT head_hash text, OUT first_bad_position bigint, OUT first_bad_id text, OUT problem text) TO auditor;

-- Name: FUNCTION actor(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.actor() FROM PUBLIC;

-- Name: FUNCTION chain_hookify_decision(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.chain_hookify_decision() FROM PUBLIC;

-- Name: FUNCTION check_request(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.check_request() FROM PUBLIC;
GRANT ALL ON FUNCTION app.check_request() TO anon;
GRANT ALL ON FUNCTION app.check_request() TO authenticated;
GRANT ALL ON FUNCTION app.check_request() TO auditor;

-- Name: FUNCTION guard_misalignment(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.guard_misalignment() FROM PUBLIC;

-- Name: FUNCTION guard_tool_event(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.guard_tool_event() FROM PUBLIC;

-- Name: FUNCTION hookify_decision_hash(decision app.hookify_decisions); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) FROM PUBLIC;
GRANT ALL ON FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) TO authenticated;
GRANT ALL ON FUNCTION app.hookify_decision_hash(decision app.hookify_decisions) TO auditor;

-- Name: FUNCTION is_legal_misalignment_transition(from_status text, to_status text); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.is_legal_misalignment_transition(from_status text, to_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.is_legal_misalignment_transition(from_status text, to_status text) TO authenticated;

-- Name: FUNCTION is_legal_tool_event_transition(from_status text, to_status text); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.is_legal_tool_event_transition(from_status text, to_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.is_legal_tool_event_transition(from_status text, to_status text) TO authenticated;

-- Name: FUNCTION json_merge_patch(target jsonb, patch jsonb); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.json_merge_patch(target jsonb, patch jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.json_merge_patch(target jsonb, patch jsonb) TO authenticated;

-- Name: FUNCTION log_misalignment_transition(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.log_misalignment_transition() FROM PUBLIC;

-- Name: FUNCTION log_tool_event_transition(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.log_tool_event_transition() FROM PUBLIC;

-- Name: FUNCTION raise_error(status integer, code text, message text, details jsonb, hint text); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) TO anon;
GRANT ALL ON FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) TO authenticated;
GRANT ALL ON FUNCTION app.raise_error(status integer, code text, message text, details jsonb, hint text) TO auditor;

-- Name: FUNCTION refuse_bulk_change(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.refuse_bulk_change() FROM PUBLIC;

-- Name: FUNCTION refuse_change(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.refuse_change() FROM PUBLIC;

-- Name: FUNCTION refuse_row(table_name text, constraint_name text, column_name text, context jsonb); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.refuse_row(table_name text, constraint_name text, column_name text, context jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.refuse_row(table_name text, constraint_name text, column_name text, context jsonb) TO authenticated;

-- Name: FUNCTION refuse_stale_ui_settings(expected_revision bigint); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.refuse_stale_ui_settings(expected_revision bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION app.refuse_stale_ui_settings(expected_revision bigint) TO authenticated;

-- Name: FUNCTION revise_ui_settings(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.revise_ui_settings() FROM PUBLIC;

-- Name: FUNCTION start_misalignment(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.start_misalignment() FROM PUBLIC;

-- Name: FUNCTION touch_session_repo_binding(); Type: ACL; Schema: app; Owner: sessionbase_owner

REVOKE ALL ON FUNCTION app.touch_session_repo_binding() FROM PUBLIC;

-- Name: TABLE misalignment_transitions; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.misalignment_transitions TO authenticated;
GRANT SELECT ON TABLE app.misalignment_transitions TO auditor;

-- Name: TABLE misalignment_transitions; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.misalignment_transitions TO authenticated;
GRANT SELECT ON TABLE api.misalignment_transitions TO auditor;

-- Name: TABLE tool_event_transitions; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.tool_event_transitions TO authenticated;
GRANT SELECT ON TABLE app.tool_event_transitions TO auditor;

-- Name: TABLE tool_event_transitions; Type: ACL; Schema: api; Owner: sessionbase_owner

GRANT SELECT ON TABLE api.tool_event_transitions TO authenticated;
GRANT SELECT ON TABLE api.tool_event_transitions TO auditor;

-- Name: TABLE hookify_chains; Type: ACL; Schema: app; Owner: sessionbase_owner

GRANT SELECT ON TABLE app.hookify_chains TO authenticated;
GRANT SELECT ON TABLE app.hookify_chains TO auditor;
