// The latency of each call of the TypeScript client next to the same call by curl; prints JSON rows.
// One call at a time, alternating. curl's time_total does not contain the start of the program, but it
// contains a new connection, whereas the client uses a persistent one.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { forProfile } from '../clients/typescript/dist/index.js';

const run = promisify(execFile);
const { SESSIONBASE_REST_URL: url, BENCH_TOKEN: token, BENCH_PROFILE: profile } = process.env;
const rounds = Number(process.argv[2]);
const modules = forProfile(profile, { restUrl: url, tokenProvider: () => token });
const { toolEvents, hookifyDecisions, misalignments, todos } = modules;
const { sessionRepoBindings, uiSettings } = modules;

const session = 'bench-modules';
const event = { sessionId: session, toolName: 'get_timeline_event', arguments: { n: 1 } };
const eventRow = { session_id: session, tool_name: 'get_timeline_event', arguments: { n: 1 } };
const decision = { source: 'manual', severity: 'low', blocked: false, rules: [], content: 'c' };
const found = { title: 'A title', summary: 'What happened' };
const binding = { assetPath: '/asset', rootDir: '/root' };
const settings = { bookmarks: [1, 2, 3], timelinePreferences: { sortOrder: 'asc' } };
const inSession = `?session_id=eq.${session}`;
const newEvent = async () => (await toolEvents.insert({ ...event, sessionId: 'other' })).id;
const newCall = async () => {
  const toolCallId = randomUUID();
  await toolEvents.insert({ ...event, sessionId: 'other', toolCallId });
  return toolCallId;
};
const newFinding = async () => {
  const ruleId = randomUUID();
  const [{ id }] = await misalignments.ingestMisalignmentCandidates('other', [{ ...found, ruleId }]);
  return id;
};
const newTodo = async () => (await todos.addTodo('x')).id;
await todos.addTodo('the first');
for (let n = 0; n < 50; n += 1) await toolEvents.insert(event);

/** Name; the untimed preparation of a call; the call of the client; path, body and method for curl. */
const cases = [
  ['toolEvents.insert', null, () => toolEvents.insert(event),
    () => ['/rpc/record_tool_event', { ...eventRow, id: `tool_${randomUUID()}` }]],
  ['toolEvents.updateStatus', newEvent,
    (id) => toolEvents.updateStatus(id, 'succeeded', { result: 1 }),
    (id) => ['/rpc/transition_tool_event', { id, to_status: 'succeeded', result: 1 }]],
  ['toolEvents.updateStatusByToolCall', newCall,
    (id) => toolEvents.updateStatusByToolCall(id, 'succeeded', { result: 1 }),
    (id) => ['/rpc/transition_tool_event_by_call', { tool_call_id: id, to_status: 'succeeded', result: 1 }]],
  ['toolEvents.listBySession', null, () => toolEvents.listBySession(session),
    () => [`/tool_events${inSession}&order=started_at,id`]],
  ['recordHookifyDecision', null,
    () => hookifyDecisions.recordHookifyDecision({ ...decision, sessionId: session }),
    () => ['/rpc/record_hookify_decision', { ...decision, session_id: session }]],
  ['listHookifyDecisions', null, () => hookifyDecisions.listHookifyDecisions(session),
    () => [`/hookify_decisions${inSession}&order=position`]],
  ['upsertMisalignment', null,
    () => misalignments.upsertMisalignment({ ...found, sessionId: session, ruleId: 'r' }),
    () => ['/rpc/ingest_misalignments', { session_id: session, candidates: [{ ...found, rule_id: 'r' }] }]],
  ['updateMisalignmentStatus', newFinding,
    (id) => misalignments.updateMisalignmentStatus('other', id, 'dismissed'),
    (id) => ['/rpc/transition_misalignment', { session_id: 'other', id, to_status: 'dismissed' }]],
  ['listMisalignments', null, () => misalignments.listMisalignments(session),
    () => [`/misalignments${inSession}&order=created_at,id`]],
  ['listTodos', null, () => todos.listTodos(), () => ['/todos?order=created_at,id']],
  ['toggleTodoRecord', newTodo, (id) => todos.toggleTodoRecord(id), (id) => ['/rpc/toggle_todo', { id }]],
  ['addTodo', null, () => todos.addTodo('x'), () => ['/rpc/add_todo', { text: 'x', id: randomUUID() }]],
  ['deleteTodoRecord', newTodo, (id) => todos.deleteTodoRecord(id), (id) => ['/rpc/delete_todo', { id }]],
  ['setSessionRepoBinding', null,
    () => sessionRepoBindings.setSessionRepoBinding({ ...binding, sessionId: session }),
    () => ['/rpc/set_session_repo_binding', { session_id: session, asset_path: '/asset', root_dir: '/root' }]],
  ['getSessionRepoBinding', null, () => sessionRepoBindings.getSessionRepoBinding(session),
    () => [`/session_repo_bindings${inSession}`]],
  ['listSessionRepoBindings', null, () => sessionRepoBindings.listSessionRepoBindings(),
    () => ['/session_repo_bindings']],
  ['clearSessionRepoBinding', null, () => sessionRepoBindings.clearSessionRepoBinding('none'),
    () => ['/session_repo_bindings?session_id=eq.none', undefined, 'DELETE']],
  ['saveUiSettings', null, () => uiSettings.saveUiSettings(profile, settings),
    () => ['/rpc/save_ui_settings', { settings }]],
  ['patchUiSettings', null, () => uiSettings.patchUiSettings(profile, { bookmarks: [1] }),
    () => ['/rpc/patch_ui_settings', { patch: { bookmarks: [1] } }]],
  ['loadUiSettings', null, () => uiSettings.loadUiSettings(profile), () => ['/ui_settings']],
  ['sessionContext', null, () => modules.sessionContext(session),
    () => [`/rpc/session_context?session_id=${session}`]],
];

const rows = [];
for (const [name, prepare, byModule, byCurl] of cases) {
  const times = { module: [], curl: [] };
  for (let round = -5; round < rounds; round += 1) {
    const [forModule, forCurl] = [await prepare?.(), await prepare?.()];
    const started = performance.now();
    await byModule(forModule);
    const took = performance.now() - started;
    const curl = await timeOfCurl(...byCurl(forCurl));
    if (round < 0) continue; // warm-up
    times.module.push(took);
    times.curl.push(curl);
  }
  rows.push({ name, ...summary('module', times.module), ...summary('curl', times.curl) });
}
console.log(JSON.stringify(rows));

async function timeOfCurl(path, body, method) {
  const { stdout } = await run('curl', [
    '--silent', '--show-error', '--fail', '--output', '/dev/null', '--write-out', '%{time_total}',
    '--header', `Authorization: Bearer ${token}`, '--header', 'Content-Type: application/json',
    ...(body === undefined ? [] : ['--header', 'Prefer: return=representation', '--data', JSON.stringify(body)]),
    ...(method ? ['--request', method] : []),
    url + path,
  ]);
  return 1000 * Number(stdout);
}

function summary(side, values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  return { [`${side}_p50`]: at(0.5), [`${side}_p99`]: at(0.99) };
}
