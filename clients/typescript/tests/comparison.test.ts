import { describe, expect, test } from 'vitest';
import { forProfile } from '../src/index.js';
import { inMemoryModules, type InMemoryModules } from './support/inMemoryModules.js';
import { jwtSecret, ownProfile, restUrl } from './support/stack.js';

const STATUSES = ['pending', 'executing', 'succeeded', 'failed'] as const;
const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
const MISALIGNMENT_STATUSES = ['open', 'acknowledged', 'dismissed', 'resolved'] as const;

/**
 * The only differences that are intended: where the modules in memory lose data. (Differences that need
 * two concurrent callers are tested in modules.test.ts.)
 */
const INTENDED_DIFFERENCES = {
  'a finished event is finished once':
    'completing an event again keeps the time, latency and result of the first completion',
  'a finished event does not change': 'another final status, or an earlier one, is refused',
  'a tool call id that is not unique selects the newest unfinished event':
    'the modules in memory take the first event, of any session',
  'an ingest does not change the status': 'a dismissed misalignment stays dismissed',
} as const;
type Difference = keyof typeof INTENDED_DIFFERENCES;

/** Create a pseudorandom number generator; every run gets the same numbers. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Call = {
  name: string;
  run: (modules: InMemoryModules) => Promise<unknown>;
  intended?: Difference;
};
type Outcome = { value?: unknown; error?: string };

async function outcome(call: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await call };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Replace ids by their names and times by a constant, because both sides create their own. */
function normalize(value: unknown, names: Map<string, string>): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (key, part: unknown) => {
      if (typeof part === 'string' && names.has(part)) return names.get(part);
      if (['startedAt', 'completedAt', 'createdAt', 'updatedAt'].includes(key) && part !== null) {
        if (key === 'updatedAt' && typeof part === 'number') return 'a number';
        return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(part as string) ? 'a time' : part;
      }
      if (key === 'latencyMs') return Number.isInteger(part) && Number(part) >= 0 ? 'ms' : part;
      return part;
    }),
    // The order of the keys is not part of the interface.
    (_, part: unknown) =>
      part !== null && typeof part === 'object' && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
  );
}

describe('the same calls of the client and of the modules in memory', () => {
  test('return the same, except for the intended differences', async () => {
    const profileId = ownProfile();
    const client = forProfile(profileId, { restUrl, jwtSecret }) as unknown as InMemoryModules;
    const inMemory = inMemoryModules();
    const next = randomNumbers(20261123);
    const pick = <Item>(items: readonly Item[]) => items[next(items.length)] as Item;

    // The ids of the same record on both sides.
    const pairs = { events: [] as [string, string][], todos: [] as [string, string][] };
    const names = { client: new Map<string, string>(), inMemory: new Map<string, string>() };
    const differences = new Map<Difference, number>();
    let calls = 0;

    async function both(call: Call, kind?: 'events' | 'todos'): Promise<void> {
      calls += 1;
      const [actual, expected] = [
        await outcome(call.run(client)),
        await outcome(call.run(inMemory)),
      ];
      if (kind && actual.value && expected.value) {
        const ids = [
          (actual.value as { id: string }).id,
          (expected.value as { id: string }).id,
        ] as const;
        const name = `${kind} ${pairs[kind].length}`;
        pairs[kind].push([...ids]);
        names.client.set(ids[0], name);
        names.inMemory.set(ids[1], name);
      }
      const left = normalize(replaceIds(actual, names.client), names.client);
      const right = normalize(replaceIds(expected, names.inMemory), names.inMemory);
      if (JSON.stringify(left) === JSON.stringify(right)) return;
      if (!call.intended) expect(left, `call ${calls}: ${call.name}`).toEqual(right);
      else differences.set(call.intended, (differences.get(call.intended) ?? 0) + 1);
    }

    /** Replace the ids in an error message as well. */
    function replaceIds(result: Outcome, known: Map<string, string>): Outcome {
      if (result.error === undefined) return result;
      let error = result.error;
      for (const [id, name] of known) error = error.replaceAll(id, name);
      return { error };
    }
    const idFor = (modules: InMemoryModules, pair: [string, string]) =>
      modules === client ? pair[0] : pair[1];

    // 1. Calls for which the modules in memory lose no data: both sides must return the same.
    const finished = new Set<string>();
    for (let step = 0; step < 500; step += 1) {
      const session = `session-${next(3)}`;
      switch (next(15)) {
        case 0:
        case 1: {
          const input = {
            sessionId: session,
            toolName: pick(['get_timeline_event', 'list_timeline_events']),
            arguments: pick<unknown>([
              { limit: next(9) },
              [],
              'text',
              7,
              { a: { b: [null, true, 'é😀'] } },
            ]),
            ...(next(2) ? { threadId: `thread-${next(3)}` } : {}),
            ...(next(2) ? { toolCallId: `call-${step}` } : {}),
          };
          await both({ name: 'insert', run: (m) => m.toolEvents.insert(input) }, 'events');
          break;
        }
        case 2:
        case 3: {
          const open = pairs.events.filter(([id]) => !finished.has(id));
          if (open.length === 0) break;
          const pair = pick(open);
          finished.add(pair[0]);
          const failed = next(2) === 1;
          const contextEvents = next(2)
            ? {
                contextEvents: [
                  { eventIndex: step, displayIndex: 1, eventType: 'Message', summary: 's' },
                ],
              }
            : {};
          const updates = {
            ...(failed ? { error: 'boom' } : { result: { count: step } }),
            ...contextEvents,
          };
          await both({
            name: 'updateStatus',
            run: (m) =>
              m.toolEvents.updateStatus(idFor(m, pair), failed ? 'failed' : 'succeeded', updates),
          });
          break;
        }
        case 4:
          await both({
            name: 'updateStatus of an unknown id',
            run: (m) => m.toolEvents.updateStatus(`tool_${step}`, pick(STATUSES)),
          });
          break;
        case 5:
          await both({
            name: 'updateStatusByToolCall of an unknown call',
            run: (m) => m.toolEvents.updateStatusByToolCall(`none-${step}`, 'succeeded', {}),
          });
          break;
        case 6:
          await both({
            name: 'listBySession',
            run: (m) => m.toolEvents.listBySession(session),
          });
          break;
        case 7: {
          const input = {
            sessionId: session,
            source: pick(['timeline', 'session', 'manual'] as const),
            severity: pick(['none', ...SEVERITIES] as const),
            blocked: next(2) === 1,
            rules: [{ id: `rule-${next(4)}`, severity: pick(SEVERITIES), title: 'not kept' }],
            content: pick(['', 'rm -rf', 'üñí😀']),
            ...(next(2) ? { message: 'careful' } : {}),
            ...(next(2) ? { annotations: '**why**' } : {}),
          };
          await both({
            name: 'recordHookifyDecision',
            run: async (m) => {
              const { id, ...rest } = await m.hookifyDecisions.recordHookifyDecision(input);
              return { ...rest, id: id.replace(/_.*/, '_…') };
            },
          });
          break;
        }
        case 8:
          await both({
            name: 'listHookifyDecisions',
            run: async (m) =>
              (await m.hookifyDecisions.listHookifyDecisions(session)).map(
                ({ id: _, ...rest }) => rest,
              ),
          });
          break;
        case 9: {
          // New rules only: part 2 ingests known ones.
          const candidates = [1, 2].map((number) => ({
            ruleId: `rule-${step}-${number}`,
            title: 'Title',
            summary: 'Summary',
            ...(next(2) ? { severity: pick(SEVERITIES) } : {}),
            ...(next(2) ? { evidence: [{ message: 'seen', eventIndex: next(50) }] } : {}),
            ...(next(2)
              ? { eventRange: { startIndex: 1, endIndex: 2, startAt: '', endAt: '' } }
              : {}),
          }));
          await both({
            name: 'ingestMisalignmentCandidates',
            run: (m) => m.misalignments.ingestMisalignmentCandidates(session, candidates),
          });
          break;
        }
        case 10: {
          const [first, second] = [next(1000), next(1000)];
          const status = pick(MISALIGNMENT_STATUSES) as 'open';
          await both({
            name: 'updateMisalignmentStatus',
            run: async (m) => {
              const list = await m.misalignments.listMisalignments(session);
              const id = list[first % (list.length + 1)]?.id ?? 'unknown';
              return m.misalignments.updateMisalignmentStatus(
                second % 9 ? session : 'other',
                id,
                status,
              );
            },
          });
          break;
        }
        case 11:
          await both({
            name: 'listMisalignments',
            run: (m) => m.misalignments.listMisalignments(session),
          });
          break;
        case 12: {
          if (next(3) === 0 || pairs.todos.length === 0) {
            await both({ name: 'addTodo', run: (m) => m.todos.addTodo(`todo ${step}`) }, 'todos');
            break;
          }
          const pair = pick(pairs.todos);
          const remove = next(3) === 0;
          await both({
            name: remove ? 'deleteTodoRecord' : 'toggleTodoRecord',
            run: (m) =>
              remove
                ? m.todos.deleteTodoRecord(idFor(m, pair))
                : m.todos.toggleTodoRecord(idFor(m, pair)),
          });
          await both({ name: 'listTodos', run: (m) => m.todos.listTodos() });
          break;
        }
        case 13: {
          const input = { sessionId: session, assetPath: `/a/${step}`, rootDir: '/r' };
          const clear = next(4) === 0;
          await both({
            name: 'a binding set or cleared',
            run: (m) =>
              clear
                ? m.sessionRepoBindings.clearSessionRepoBinding(session)
                : m.sessionRepoBindings.setSessionRepoBinding(input),
          });
          await both({
            name: 'getSessionRepoBinding',
            run: (m) => m.sessionRepoBindings.getSessionRepoBinding(session),
          });
          await both({
            name: 'listSessionRepoBindings',
            run: (m) => m.sessionRepoBindings.listSessionRepoBindings(),
          });
          break;
        }
        default: {
          const snapshot = {
            lastSessionPath: `/p/${step}`,
            bookmarks: [step],
            future: { key: null },
          };
          if (next(2)) {
            await both({
              name: 'saveUiSettings',
              run: (m) => m.uiSettings.saveUiSettings(profileId, snapshot),
            });
          }
          await both({
            name: 'loadUiSettings',
            run: (m) => m.uiSettings.loadUiSettings(profileId),
          });
        }
      }
    }
    const kept = calls;
    expect([...differences], 'differences that are not intended').toEqual([]);

    // 2. A call for each intended difference; the results must differ.
    const event = (toolCallId: string) => ({
      sessionId: 'differences',
      toolName: 't',
      arguments: {},
      toolCallId,
    });
    const inserted = async (toolCallId: string) => {
      await both({ name: 'insert', run: (m) => m.toolEvents.insert(event(toolCallId)) }, 'events');
      return pairs.events.at(-1) as [string, string];
    };
    const done = await inserted('call-twice');
    await both({
      name: 'updateStatus',
      run: (m) =>
        m.toolEvents.updateStatus(idFor(m, done), 'succeeded', { result: { first: true } }),
    });
    await both({
      name: 'updateStatusByToolCall again',
      run: (m) =>
        m.toolEvents.updateStatusByToolCall('call-twice', 'succeeded', {
          result: { first: false },
        }),
      intended: 'a finished event is finished once',
    });
    await both({
      name: 'updateStatus to the other end',
      run: (m) => m.toolEvents.updateStatus(idFor(m, done), 'failed', { error: 'late' }),
      intended: 'a finished event does not change',
    });
    await inserted('call-shared');
    await inserted('call-shared');
    await both({
      name: 'updateStatusByToolCall of two',
      run: (m) => m.toolEvents.updateStatusByToolCall('call-shared', 'succeeded', { result: 1 }),
      intended: 'a tool call id that is not unique selects the newest unfinished event',
    });
    const found = [{ ruleId: 'dismissed', title: 't', summary: 's' }];
    const ingest = (intended?: Difference) =>
      both({
        name: 'ingestMisalignmentCandidates',
        run: (m) => m.misalignments.ingestMisalignmentCandidates('differences', found),
        ...(intended ? { intended } : {}),
      });
    await ingest();
    await both({
      name: 'updateMisalignmentStatus',
      run: (m) =>
        m.misalignments.updateMisalignmentStatus(
          'differences',
          'mis-differences-dismissed',
          'dismissed',
        ),
    });
    await ingest('an ingest does not change the status');

    console.log(`comparison: ${calls} calls, ${kept} of them must return the same: 0 differences`);
    for (const [intended, count] of differences) {
      console.log(`  ${count} × ${intended}: ${INTENDED_DIFFERENCES[intended]}`);
    }
    expect(Object.fromEntries(differences)).toEqual(
      Object.fromEntries(Object.keys(INTENDED_DIFFERENCES).map((intended) => [intended, 1])),
    );
  });
});
