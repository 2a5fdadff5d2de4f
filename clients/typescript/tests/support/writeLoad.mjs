// Calls each kind of write with the built package until stdin ends; prints one JSON line for each call.
// tests/stack/test_lost_answers.py starts it, kills PostgreSQL, and compares the outcomes with the rows.
import { randomUUID } from 'node:crypto';
import { forProfile } from 'sessionbase';

const [profileId, workers] = process.argv.slice(2);
const configuration = { timeoutMs: 5_000, retries: 12 };
const modules = forProfile(profileId, configuration);

/** How often PostgREST answered with an empty code; the client repeats such a request, or throws. */
let emptyCodes = 0;
const originalFetch = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const response = await originalFetch(...args);
  if (response.status >= 400 && /"code":\s*""/.test(await response.clone().text())) emptyCodes += 1;
  return response;
};

const event = (key) => ({ id: key, sessionId: key, toolName: 't', toolCallId: key, arguments: {} });
const candidate = (key) => ({ sessionId: key, id: key, ruleId: 'r', title: 't', summary: 's' });
const binding = (key) => ({ sessionId: key, assetPath: 'a', rootDir: '/' });

/** Each kind of write: `before` stores what it needs; `write` has one effect, which its key identifies. */
const KINDS = {
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
      forProfile(`${profileId}/${key}`, configuration).uiSettings.saveUiSettings(
        `${profileId}/${key}`,
        { key },
      ),
  },
  saveUiSettingsWithRevision: {
    write: (key) =>
      forProfile(`${profileId}/${key}`, configuration).uiSettings.saveUiSettings(
        `${profileId}/${key}`,
        { key },
        { expectedRevision: 0 },
      ),
  },
};

let ended = false;
process.stdin.on('end', () => (ended = true)).resume();

async function work(kind) {
  const { before, write } = KINDS[kind];
  while (!ended) {
    const key = randomUUID();
    try {
      await before?.(key);
    } catch {
      continue;
    }
    const line = await write(key).then(
      () => ({ outcome: 'acknowledged', code: null }),
      ({ outcome, code }) => ({ outcome, code }),
    );
    console.log(JSON.stringify({ kind, key, ...line }));
  }
}

await Promise.all(
  Object.keys(KINDS).flatMap((kind) => Array.from({ length: Number(workers) }, () => work(kind))),
);
console.log(JSON.stringify({ emptyCodes }));
