import type { Database } from './generated/database.js';

type Views = Database['api']['Views'];

/**
 * A row of a view. The OpenAPI document calls every column of a view nullable; `Nullable` names those
 * that are. A column that the database renames makes its users fail to compile.
 */
type Row<View extends keyof Views, Nullable extends keyof Views[View]['Row'] = never> = {
  [Column in keyof Views[View]['Row']]: unknown extends Views[View]['Row'][Column]
    ? unknown
    : Column extends Nullable
      ? Views[View]['Row'][Column]
      : NonNullable<Views[View]['Row'][Column]>;
};

export type ToolEventRow = Row<
  'tool_events',
  'thread_id' | 'tool_call_id' | 'error' | 'completed_at' | 'latency_ms'
>;
export type HookifyDecisionRow = Row<'hookify_decisions', 'message' | 'annotations'>;
export type MisalignmentRow = Row<'misalignments', 'previous_status'>;
export type TodoRow = Row<'todos'>;
export type SessionRepoBindingRow = Row<'session_repo_bindings'>;
export type UiSettingsRow = Row<'ui_settings'>;

/** A row with the transaction that wrote it, asked for by `WRITTEN`. */
export type Written<Row> = Row & { txid: string };
/** The same of a write that may find nothing to do: then null. */
export type Repeated<Row> = Row & { txid: string | null };

/** What each function answers; the OpenAPI document does not say it. */
export interface Answers {
  record_tool_event: Repeated<ToolEventRow>;
  transition_tool_event: Repeated<ToolEventRow>;
  transition_tool_event_by_call: Repeated<ToolEventRow>[];
  record_hookify_decision: Repeated<HookifyDecisionRow>;
  ingest_misalignments: Repeated<MisalignmentRow>[];
  transition_misalignment: Repeated<MisalignmentRow>;
  toggle_todo: Written<TodoRow>;
  delete_todo: Written<TodoRow>;
  set_session_repo_binding: Written<SessionRepoBindingRow>;
  save_ui_settings: Written<UiSettingsRow>;
  patch_ui_settings: Written<UiSettingsRow>;
  session_context: SessionContextAnswer;
}

interface SessionContextAnswer {
  session_id: string;
  binding: SessionRepoBindingRow | null;
  misalignments: MisalignmentRow[];
  unfinished_tool_events: ToolEventRow[];
  counts: {
    tool_events: Record<'pending' | 'executing' | 'succeeded' | 'failed', number>;
    misalignments: Record<'open' | 'acknowledged' | 'dismissed', number>;
    hookify_decisions: Record<'blocked' | 'allowed', number>;
  };
}

/** PostgreSQL's time (microseconds, `+00:00`) as the app writes it: milliseconds and `Z`. */
export function isoTime(stored: string): string {
  return new Date(stored).toISOString();
}

/** The fields that are there: neither null nor undefined. */
export function present<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const entries = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  return Object.fromEntries(entries) as { [Name in keyof Fields]?: NonNullable<Fields[Name]> };
}

/** The first and only row; undefined for an empty answer. */
export function only<Row>(rows: Row[]): Row | undefined {
  return rows[0];
}
