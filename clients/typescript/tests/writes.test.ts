import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { forProfile } from '../src/index.js';
import { REPEATABLE, type Write } from '../src/writes.js';
import { jwtSecret, ownProfile, restUrl, startProxy } from './support/stack.js';

type Modules = ReturnType<typeof forProfile>;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

test('the table of the client is the one of docs/errors.md', () => {
  const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `((?:POST|PATCH|DELETE) [^`]+)` \| ([^|]+) \|/gm)];
  const documented = Object.fromEntries(
    rows.map(([, write, rule]) => [write, rule!.replaceAll('`', '')]),
  );
  expect(documented, 'change src/writes.ts, or the table in docs/errors.md').toEqual(REPEATABLE);
});

const event = { id: 'tool_1', sessionId: 's', toolName: 't', toolCallId: 'c', arguments: {} };
const candidate = { ruleId: 'r', title: 't', summary: 's' };
const binding = { sessionId: 's', assetPath: 'a', rootDir: '/' };
const decision = {
  sessionId: 's',
  severity: 'low',
  blocked: false,
  rules: [],
  content: 'c',
} as const;
const addTodo = ({ todos }: Modules) => todos.addTodo('t');

interface Case {
  write: Write;
  call: (modules: Modules, prepared: never) => Promise<unknown>;
  /** Stores what the call needs, and returns it. */
  prepare?: (modules: Modules) => Promise<unknown>;
  repeated: boolean;
}

const CASES: Case[] = [
  {
    write: 'POST /rpc/record_tool_event',
    call: ({ toolEvents }) => toolEvents.insert(event),
    repeated: true,
  },
  {
    write: 'POST /rpc/transition_tool_event',
    prepare: ({ toolEvents }) => toolEvents.insert(event),
    call: ({ toolEvents }) => toolEvents.updateStatus('tool_1', 'succeeded'),
    repeated: true,
  },
  {
    write: 'POST /rpc/transition_tool_event_by_call',
    prepare: ({ toolEvents }) => toolEvents.insert(event),
    call: ({ toolEvents }) => toolEvents.updateStatusByToolCall('c', 'succeeded'),
    repeated: false,
  },
  {
    write: 'POST /rpc/record_hookify_decision',
    call: ({ hookifyDecisions }) =>
      hookifyDecisions.recordHookifyDecision({ ...decision, rules: [], source: 'manual' }),
    repeated: true,
  },
  {
    write: 'POST /rpc/ingest_misalignments',
    call: ({ misalignments }) => misalignments.upsertMisalignment({ sessionId: 's', ...candidate }),
    repeated: true,
  },
  {
    write: 'POST /rpc/transition_misalignment',
    prepare: ({ misalignments }) =>
      misalignments.upsertMisalignment({ sessionId: 's', ...candidate }),
    call: ({ misalignments }) =>
      misalignments.updateMisalignmentStatus('s', 'mis-s-r', 'dismissed'),
    repeated: true,
  },
  { write: 'POST /rpc/add_todo', call: addTodo, repeated: true },
  {
    write: 'POST /rpc/toggle_todo',
    prepare: addTodo,
    call: ({ todos }, { id }: { id: string }) => todos.toggleTodoRecord(id),
    repeated: false,
  },
  {
    write: 'POST /rpc/delete_todo',
    prepare: addTodo,
    call: ({ todos }, { id }: { id: string }) => todos.deleteTodoRecord(id),
    repeated: true,
  },
  {
    write: 'PATCH /todos',
    prepare: addTodo,
    call: ({ todos }, { id }: { id: string }) => todos.updateTodo(id, { text: randomUUID() }),
    repeated: true,
  },
  {
    write: 'POST /rpc/set_session_repo_binding',
    call: ({ sessionRepoBindings }) => sessionRepoBindings.setSessionRepoBinding(binding),
    repeated: true,
  },
  {
    write: 'DELETE /session_repo_bindings',
    prepare: ({ sessionRepoBindings }) => sessionRepoBindings.setSessionRepoBinding(binding),
    call: ({ sessionRepoBindings }) => sessionRepoBindings.clearSessionRepoBinding('s'),
    repeated: true,
  },
  ...[undefined, 0].flatMap((expectedRevision): Case[] => {
    const options = expectedRevision === undefined ? {} : { expectedRevision };
    const repeated = expectedRevision === undefined;
    return [
      {
        write: 'POST /rpc/save_ui_settings',
        call: ({ uiSettings, todos }) =>
          uiSettings.saveUiSettings(todos.profileId!, { a: 1 }, options),
        repeated,
      },
      {
        write: 'POST /rpc/patch_ui_settings',
        call: ({ uiSettings, todos }) =>
          uiSettings.patchUiSettings(todos.profileId!, { a: 1 }, options),
        repeated,
      },
    ];
  }),
];

test.each(CASES)('$write is repeated after a lost response: $repeated', async (written) => {
  const profileId = ownProfile();
  const proxy = await startProxy((_, number) => (number === 1 ? 'drop response' : 'forward'));
  closing.push(proxy.close);
  const prepared = await written.prepare?.(forProfile(profileId, { restUrl, jwtSecret }));
  const modules = forProfile(profileId, { restUrl: proxy.url, jwtSecret });
  const outcome = await written.call(modules, prepared as never).then(
    () => 'acknowledged',
    (error: { outcome: string }) => error.outcome,
  );
  expect(outcome).toBe(written.repeated ? 'acknowledged' : 'unknown');
  const sent = proxy.requests.filter((request) => request === written.write);
  expect(sent).toHaveLength(written.repeated ? 2 : 1);
});

test('every write that the client sends has a case above', () => {
  // The client adds todos by the function add_todo.
  const others = new Set<Write>(['POST /todos']);
  const covered = new Set(CASES.map(({ write }) => write));
  const missing = (Object.keys(REPEATABLE) as Write[]).filter((write) => !covered.has(write));
  expect(new Set(missing)).toEqual(others);
});
