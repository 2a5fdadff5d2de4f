import type { Database } from './generated/database.js';

type Views = Database['api']['Views'];

/**
 * A row of a view. The OpenAPI document describes every column of a view as nullable; `Nullable` lists
 * the columns that really are. If the database renames a column, the code that uses it does not compile.
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

/** A row that was selected with `ALL_WITH_TXID`. */
export type RowWithTxid<Row> = Row & { txid: string };
/** The same for a write that may change nothing; then `txid` is null. */
export type RowWithOptionalTxid<Row> = Row & { txid: string | null };

/** The return type of each function. The OpenAPI document does not contain it. */
export interface FunctionReturns {
  record_tool_event: RowWithOptionalTxid<ToolEventRow>;
  transition_tool_event: RowWithOptionalTxid<ToolEventRow>;
  transition_tool_event_by_call: RowWithOptionalTxid<ToolEventRow>[];
  record_hookify_decision: RowWithOptionalTxid<HookifyDecisionRow>;
  ingest_misalignments: RowWithOptionalTxid<MisalignmentRow>[];
  transition_misalignment: RowWithOptionalTxid<MisalignmentRow>;
  add_todo: RowWithOptionalTxid<TodoRow>;
  toggle_todo: RowWithTxid<TodoRow>;
  delete_todo: RowWithTxid<TodoRow>;
  set_session_repo_binding: RowWithTxid<SessionRepoBindingRow>;
  save_ui_settings: RowWithTxid<UiSettingsRow>;
  patch_ui_settings: RowWithTxid<UiSettingsRow>;
  session_context: SessionContextRow;
}

interface SessionContextRow {
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

/** Convert a time of PostgreSQL (microseconds, `+00:00`) to the app's format (milliseconds, `Z`). */
export function toIsoTime(stored: string): string {
  return new Date(stored).toISOString();
}

/** Drop the fields that are null or undefined. */
export function omitNullish<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const entries = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  return Object.fromEntries(entries) as { [Name in keyof Fields]?: NonNullable<Fields[Name]> };
}
