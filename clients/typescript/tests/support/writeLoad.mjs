// Calls each kind of write with the built package until stdin ends; prints one JSON line for each call.
// tests/stack/test_lost_answers.py starts it, kills PostgreSQL, and compares the outcomes with the rows.
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { forProfile } from 'sessionbase';

const [profileId] = process.argv.slice(2);
// Half of the callers do not wait until PostgreSQL is up again, so that their calls fail.
const patient = { timeoutMs: 5_000, retries: 12 };
const impatient = { ...patient, retries: 1 };

/** The number of error responses with each code. */
const errorCodes = {};
const originalFetch = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const response = await originalFetch(...args);
  if (response.status >= 400) {
    const { code } = await response.clone().json();
    errorCodes[code] = (errorCodes[code] ?? 0) + 1;
  }
  return response;
};

const event = (key) => ({ id: key, sessionId: key, toolName: 't', toolCallId: key, arguments: {} });
const candidate = (key) => ({ sessionId: key, id: key, ruleId: 'r', title: 't', summary: 's' });
const binding = (key) => ({ sessionId: key, assetPath: 'a', rootDir: '/' });

/** Each kind of write: `before` stores what it needs; `write` has one effect, which its key identifies. */
const kinds = (modules, ofProfile) => ({
  insertToolEvent: { write: (key) => modules.toolEvents.insert(event(key)) },
  updateStatus: {
    before: (key) => modules.toolEvents.insert(event(key)),
    write: (key) => modules.toolEvents.updateStatus(key, 'succeeded', { result: 1 }),
  },
  updateStatusByToolCall: {
    before: (key) => modules.toolEvents.insert(event(key)),
    write: (key) => modules.toolEvents.updateStatusByToolCall(key, 'succeeded', { result: 1 }),
  },
  recordHookifyDecision: {
    write: (key) =>
      modules.hookifyDecisions.recordHookifyDecision({
        sessionId: key,
        source: 'manual',
        severity: 'low',
        blocked: false,
        rules: [],
        content: 'c',
      }),
  },
  upsertMisalignment: { write: (key) => modules.misalignments.upsertMisalignment(candidate(key)) },
  updateMisalignmentStatus: {
    before: (key) => modules.misalignments.upsertMisalignment(candidate(key)),
    write: (key) => modules.misalignments.updateMisalignmentStatus(key, key, 'dismissed'),
  },
  addTodo: { write: (key) => modules.todos.addTodo(key) },
  updateTodo: {
    before: (key) => modules.todos.insertTodo({ id: key, text: 'before' }),
    write: (key) => modules.todos.updateTodo(key, { text: 'after' }),
  },
  toggleTodoRecord: {
    before: (key) => modules.todos.insertTodo({ id: key, text: 'toggle' }),
    write: (key) => modules.todos.toggleTodoRecord(key),
  },
  deleteTodoRecord: {
    before: (key) => modules.todos.insertTodo({ id: key, text: 'delete' }),
    write: (key) => modules.todos.deleteTodoRecord(key),
  },
  setSessionRepoBinding: {
    write: (key) => modules.sessionRepoBindings.setSessionRepoBinding(binding(key)),
  },
  clearSessionRepoBinding: {
    before: (key) => modules.sessionRepoBindings.setSessionRepoBinding(binding(key)),
    write: (key) => modules.sessionRepoBindings.clearSessionRepoBinding(key),
  },
  patchUiSettings: {
    write: (key) => modules.uiSettings.patchUiSettings(profileId, { [key]: true }),
  },
  // A profile of its own for each call, because a profile has one document.
  saveUiSettings: {
    write: (key) =>
      ofProfile(`${profileId}/${key}`).uiSettings.saveUiSettings(`${profileId}/${key}`, { key }),
  },
  saveUiSettingsWithRevision: {
    write: (key) =>
      ofProfile(`${profileId}/${key}`).uiSettings.saveUiSettings(
        `${profileId}/${key}`,
        { key },
        { expectedRevision: 0 },
      ),
  },
});

let ended = false;
process.stdin.on('end', () => (ended = true)).resume();

async function work({ before, write }, kind) {
  while (!ended) {
    const key = randomUUID();
    const outcome = await Promise.resolve(before?.(key)).then(
      () =>
        write(key).then(
          () => 'acknowledged',
          (error) => error.outcome,
        ),
      () => null,
    );
    if (outcome) console.log(JSON.stringify({ kind, key, outcome }));
    if (outcome !== 'acknowledged') await setTimeout(50);
  }
}

await Promise.all(
  [patient, impatient].flatMap((configuration) => {
    const ofProfile = (id) => forProfile(id, configuration);
    return Object.entries(kinds(ofProfile(profileId), ofProfile)).map(([kind, calls]) =>
      work(calls, kind),
    );
  }),
);
console.log(JSON.stringify({ errorCodes }));
