import { describe, expect, test } from 'vitest';
import { forProfile } from '../src/index.js';
import { todaysModules, type TodaysModules } from './support/model.js';
import { jwtSecret, ownProfile, restUrl } from './support/stack.js';

const STATUSES = ['pending', 'executing', 'succeeded', 'failed'] as const;
const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
const MISALIGNMENT_STATUSES = ['open', 'acknowledged', 'dismissed', 'resolved'] as const;

/**
 * What may make an answer differ from today's, and nothing else: the losses that the move ends. (Those
 * that take two callers at once are in modules.test.ts.)
 */
const MENDS = {
  'a finished event is finished once':
    'completing an event again leaves the first completion, its time and latency',
  'a finished event stays as it is': 'the other final status, or a step back, is refused',
  'a call id that is not unique names the newest unfinished event':
    'today it is the first that is found, of whichever session',
  'an ingest never touches the status': 'what a person dismissed stays dismissed',
} as const;
type Mend = keyof typeof MENDS;

/** Numbers that look random and are the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Call = { name: string; run: (modules: TodaysModules) => Promise<unknown>; mend?: Mend };
type Outcome = { value?: unknown; error?: string };

async function outcome(call: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await call };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Ids and times are each side's own: compare where they come from, not what they are. */
function comparable(value: unknown, names: Map<string, string>): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (key, part: unknown) => {
      if (typeof part === 'string' && names.has(part)) return names.get(part);
      if (['startedAt', 'completedAt', 'createdAt', 'updatedAt'].includes(key) && part !== null) {
        if (key === 'updatedAt' && typeof part === 'number') return 'a number';
        return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(String(part)) ? 'a time' : part;
      }
      if (key === 'latencyMs') return Number.isInteger(part) && Number(part) >= 0 ? 'ms' : part;
      return part;
    }),
    // Key order is nobody's promise.
    (_, part: unknown) =>
      part !== null && typeof part === 'object' && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
  );
}

describe('the same calls as today', () => {
  test('answer the same, but for the mends', async () => {
    const profileId = ownProfile();
    const ours = forProfile(profileId, { restUrl, jwtSecret }) as unknown as TodaysModules;
    const todays = todaysModules();
    const next = numbers(20261123);
    const pick = <Item>(items: readonly Item[]) => items[next(items.length)] as Item;

    // What the model holds under each of our ids, and where the two have parted by a mend.
    const pairs = { events: [] as [string, string][], todos: [] as [string, string][] };
    const toOurs = new Map<string, string>();
    const names = { ours: new Map<string, string>(), todays: new Map<string, string>() };
    const differences = new Map<Mend, number>();
    let calls = 0;

    async function both(call: Call, kind?: 'events' | 'todos'): Promise<void> {
      calls += 1;
      const [mine, theirs] = [await outcome(call.run(ours)), await outcome(call.run(todays))];
      if (kind && mine.value && theirs.value) {
        const ids = [
          (mine.value as { id: string }).id,
          (theirs.value as { id: string }).id,
        ] as const;
        const name = `${kind} ${pairs[kind].length}`;
        pairs[kind].push([...ids]);
        toOurs.set(ids[1], ids[0]);
        names.ours.set(ids[0], name);
        names.todays.set(ids[1], name);
      }
      const left = comparable(renamed(mine, names.ours), names.ours);
      const right = comparable(renamed(theirs, names.todays), names.todays);
      if (JSON.stringify(left) === JSON.stringify(right)) return;
      if (!call.mend) expect(left, `call ${calls}: ${call.name}`).toEqual(right);
      else differences.set(call.mend, (differences.get(call.mend) ?? 0) + 1);
    }

    /** An id inside a message, too. */
    function renamed(result: Outcome, known: Map<string, string>): Outcome {
      if (result.error === undefined) return result;
      let error = result.error;
      for (const [id, name] of known) error = error.replaceAll(id, name);
      return { error };
    }
    const idFor = (modules: TodaysModules, pair: [string, string]) =>
      modules === ours ? pair[0] : pair[1];

    // 1. What is kept: sequences on which today loses nothing.
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
          await both({ name: 'insert', run: (m) => m.chatToolEvents.insert(input) }, 'events');
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
              m.chatToolEvents.updateStatus(
                idFor(m, pair),
                failed ? 'failed' : 'succeeded',
                updates,
              ),
          });
          break;
        }
        case 4:
          await both({
            name: 'updateStatus of an unknown id',
            run: (m) => m.chatToolEvents.updateStatus(`tool_${step}`, pick(STATUSES)),
          });
          break;
        case 5:
          await both({
            name: 'updateStatusByToolCall of an unknown call',
            run: (m) => m.chatToolEvents.updateStatusByToolCall(`none-${step}`, 'succeeded', {}),
          });
          break;
        case 6:
          await both({
            name: 'listBySession',
            run: (m) => m.chatToolEvents.listBySession(session),
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
          // New rules only: what an ingest does to known ones comes below.
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
            await both(
              { name: 'addTodo', run: (m) => m.todosStore.addTodo(`todo ${step}`) },
              'todos',
            );
            break;
          }
          const pair = pick(pairs.todos);
          const remove = next(3) === 0;
          await both({
            name: remove ? 'deleteTodoRecord' : 'toggleTodoRecord',
            run: (m) =>
              remove
                ? m.todosStore.deleteTodoRecord(idFor(m, pair))
                : m.todosStore.toggleTodoRecord(idFor(m, pair)),
          });
          await both({ name: 'listTodos', run: (m) => m.todosStore.listTodos() });
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
              run: (m) => m.uiSettingsStore.saveUiSettings(profileId, snapshot),
            });
          }
          await both({
            name: 'loadUiSettings',
            run: (m) => m.uiSettingsStore.loadUiSettings(profileId),
          });
        }
      }
    }
    const kept = calls;
    expect([...differences], 'differences where today loses nothing').toEqual([]);

    // 2. The mends, each provoked; the difference must be there.
    const event = (toolCallId: string) => ({
      sessionId: 'mends',
      toolName: 't',
      arguments: {},
      toolCallId,
    });
    const inserted = async (toolCallId: string) => {
      await both(
        { name: 'insert', run: (m) => m.chatToolEvents.insert(event(toolCallId)) },
        'events',
      );
      return pairs.events.at(-1) as [string, string];
    };
    const done = await inserted('call-twice');
    await both({
      name: 'updateStatus',
      run: (m) =>
        m.chatToolEvents.updateStatus(idFor(m, done), 'succeeded', { result: { first: true } }),
    });
    await both({
      name: 'updateStatusByToolCall again',
      run: (m) =>
        m.chatToolEvents.updateStatusByToolCall('call-twice', 'succeeded', {
          result: { first: false },
        }),
      mend: 'a finished event is finished once',
    });
    await both({
      name: 'updateStatus to the other end',
      run: (m) => m.chatToolEvents.updateStatus(idFor(m, done), 'failed', { error: 'late' }),
      mend: 'a finished event stays as it is',
    });
    await inserted('call-shared');
    await inserted('call-shared');
    await both({
      name: 'updateStatusByToolCall of two',
      run: (m) =>
        m.chatToolEvents.updateStatusByToolCall('call-shared', 'succeeded', { result: 1 }),
      mend: 'a call id that is not unique names the newest unfinished event',
    });
    const found = [{ ruleId: 'dismissed', title: 't', summary: 's' }];
    const ingest = (mend?: Mend) =>
      both({
        name: 'ingestMisalignmentCandidates',
        run: (m) => m.misalignments.ingestMisalignmentCandidates('mends', found),
        ...(mend ? { mend } : {}),
      });
    await ingest();
    await both({
      name: 'updateMisalignmentStatus',
      run: (m) =>
        m.misalignments.updateMisalignmentStatus('mends', 'mis-mends-dismissed', 'dismissed'),
    });
    await ingest('an ingest never touches the status');

    console.log(`same sequence: ${calls} calls, ${kept} of them on what is kept: 0 differences`);
    for (const [mend, count] of differences) console.log(`  ${count} × ${mend}: ${MENDS[mend]}`);
    expect(Object.fromEntries(differences)).toEqual(
      Object.fromEntries(Object.keys(MENDS).map((mend) => [mend, 1])),
    );
  });
});
