/**
 * Whether each write of the API can be repeated after its response was lost. `with …`: only if the
 * argument is given; `without …`: only if it is not. The table in docs/errors.md has the reasons; a test
 * compares it with this one.
 */
export const REPEATABLE = {
  'POST /rpc/record_tool_event': 'with id',
  'POST /rpc/transition_tool_event': 'yes',
  'POST /rpc/transition_tool_event_by_call': 'no',
  'POST /rpc/record_hookify_decision': 'with id',
  'POST /rpc/ingest_misalignments': 'yes',
  'POST /rpc/transition_misalignment': 'yes',
  'POST /rpc/add_todo': 'with id',
  'POST /rpc/toggle_todo': 'no',
  'POST /rpc/delete_todo': 'yes',
  'POST /todos': 'with id',
  'PATCH /todos': 'yes',
  'POST /rpc/set_session_repo_binding': 'yes',
  'DELETE /session_repo_bindings': 'yes',
  'POST /rpc/save_ui_settings': 'without expected_revision',
  'POST /rpc/patch_ui_settings': 'without expected_revision',
} as const;

/** A write of the API: its method and path. */
export type Write = keyof typeof REPEATABLE;

/** The name of a function of the database that writes. */
export type WritingFunction = Write extends infer Name
  ? Name extends `POST /rpc/${infer Function}`
    ? Function
    : never
  : never;

/** Return whether a write with these arguments can be repeated. */
export function isRepeatable(write: Write, args: Record<string, unknown>): boolean {
  const rule = REPEATABLE[write];
  if (rule === 'yes' || rule === 'no') return rule === 'yes';
  const [word, argument] = rule.split(' ') as [string, string];
  const isGiven = args[argument] !== null && args[argument] !== undefined;
  return isGiven === (word === 'with');
}
