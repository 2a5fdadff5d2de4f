import { createHash, randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectionFor } from '../src/connection.js';
import * as sessionbase from '../src/index.js';
import type { MisalignmentRow } from '../src/domains/misalignments.js';
import { ownModules, ownProfile, jwtSecret, restUrl } from './support/stack.js';

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const profile = ownProfile();
const { toolEvents, hookifyDecisions, misalignments, todos } = sessionbase;
const { sessionRepoBindings, uiSettings, sessionContext } = sessionbase;

beforeAll(() => sessionbase.configure({ restUrl, jwtSecret, profileId: profile }));
afterAll(() => sessionbase.configure({}));

const failure = (call: Promise<unknown>): Promise<sessionbase.SessionbaseError> =>
  call.then(
    () => expect.fail('the call should have failed'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(sessionbase.SessionbaseError);
      return error as sessionbase.SessionbaseError;
    },
  );

/** The names that are exported, without those that are marked `@internal`. */
const publicNames = (module: object) =>
  Object.keys(module)
    .filter((name) => !/^(bind|to)[A-Z]/.test(name))
    .sort();

const domains = readdirSync(fileURLToPath(new URL('../src/domains', import.meta.url))).map((file) =>
  file.replace('.ts', ''),
);

describe('the exports', () => {
  test('contain the functions of the app, grouped by domain', () => {
    const names = Object.fromEntries(
      Object.entries(sessionbase)
        .filter(([, value]) => typeof value === 'object')
        .map(([name, module]) => [name, publicNames(module)]),
    );
    expect(names).toMatchObject({
      toolEvents: [
        'getChatToolEventRepository',
        'insertChatToolEvent',
        'listChatToolEvents',
        'updateChatToolEventStatus',
      ],
      guestSettings: ['loadGuestSettings', 'saveGuestSettings'],
      hookifyDecisions: ['clearHookifyDecisions', 'listHookifyDecisions', 'recordHookifyDecision'],
      misalignments: [
        'ingestMisalignmentCandidates',
        'listMisalignments',
        'updateMisalignmentStatus',
        'upsertMisalignment',
      ],
      sessionRepoBindings: [
        'clearSessionRepoBinding',
        'getSessionRepoBinding',
        'listSessionRepoBindings',
        'setSessionRepoBinding',
      ],
      todos: ['addTodo', 'deleteTodoRecord', 'listTodos', 'toggleTodoRecord'],
      uiSettings: [
        'loadUiSettings',
        'loadUiSettingsWithRevision',
        'patchUiSettings',
        'saveUiSettings',
      ],
    });
  });

  test.each(domains)('contain the domain %s, also for one profile', (domain) => {
    const bind = `bind${domain[0]!.toUpperCase()}${domain.slice(1)}`;
    const exported = (sessionbase as Record<string, unknown>)[domain];
    const own = (ownModules() as Record<string, unknown>)[domain];
    expect(
      exported,
      `Add to src/index.ts: export * as ${domain} from './domains/${domain}.js';`,
    ).toBeDefined();
    expect(own, `Add to forProfile in src/index.ts: ${domain}: ${bind}(connection)`).toBeDefined();
    // A domain is a module, or a single function with its name.
    if (typeof exported === 'function') return expect(own).toBeTypeOf('function');
    const missing = publicNames(exported!).filter((name) => !publicNames(own!).includes(name));
    expect(missing, `Return them from ${bind} in src/domains/${domain}.ts`).toEqual([]);
  });

  test('of one profile include the repository of the tool events', async () => {
    const { toolEvents: events, hookifyDecisions: decisions } = ownModules();
    const event = { sessionId: 's', toolName: 't', arguments: {} };
    const { id } = await events.insertChatToolEvent(event);
    const done = await events.updateChatToolEventStatus(id, 'succeeded');
    expect(await events.listChatToolEvents('s')).toEqual([done]);
    expect(await events.getChatToolEventRepository().listBySession('s')).toEqual([done]);
    expect(await failure(decisions.clearHookifyDecisions())).toMatchObject({ code: 'append_only' });
  });
});

describe('toolEvents', () => {
  test('an event has the format of the app', async () => {
    const sessionId = randomUUID();
    const started = await toolEvents.insertChatToolEvent({
      sessionId,
      threadId: 'thread',
      toolCallId: '718460984',
      toolName: 'get_timeline_event',
      arguments: { eventIndex: 3 },
    });
    expect(started).toEqual({
      id: expect.stringMatching(/^tool_[0-9a-f-]{36}$/),
      sessionId,
      threadId: 'thread',
      toolCallId: '718460984',
      toolName: 'get_timeline_event',
      status: 'executing',
      arguments: { eventIndex: 3 },
      startedAt: expect.stringMatching(ISO),
    });
    const contextEvents = [{ eventIndex: 3, displayIndex: 4, eventType: 'Message', summary: 'hi' }];
    const done = await toolEvents.updateChatToolEventStatus(started.id, 'succeeded', {
      result: { found: true },
      contextEvents,
    });
    expect(done).toEqual({
      ...started,
      status: 'succeeded',
      result: { found: true },
      contextEvents,
      completedAt: expect.stringMatching(ISO),
      latencyMs: expect.any(Number),
    });
    expect(await toolEvents.listChatToolEvents(sessionId)).toEqual([done]);
  });

  test('an event is finished by its tool call id, and finishing it again changes nothing', async () => {
    const repository = toolEvents.getChatToolEventRepository();
    const toolCallId = randomUUID();
    const { id } = await repository.insert({
      sessionId: 's',
      toolCallId,
      toolName: 't',
      arguments: null,
    });
    const first = await repository.updateStatus(id, 'succeeded', { result: 1, contextEvents: [] });
    const second = await repository.updateStatusByToolCall(toolCallId, 'succeeded', { result: 1 });
    expect(second).toEqual(first);
    expect(first.arguments).toBeNull();
    expect(await repository.updateStatusByToolCall('unknown', 'failed', { error: 'e' })).toBeNull();
    const listed = await repository.listBySession('s');
    expect(listed).toContainEqual(first);
  });

  test('an unknown event, a second outcome and an unknown status are errors', async () => {
    const repository = toolEvents.getChatToolEventRepository();
    const unknown = await failure(repository.updateStatus('tool_none', 'failed'));
    expect(unknown).toMatchObject({
      message: 'Tool event tool_none not found',
      code: 'not_found',
      status: 404,
      details: { id: 'tool_none' },
    });
    const { id } = await repository.insert({ sessionId: 's', toolName: 't', arguments: {} });
    await repository.updateStatus(id, 'succeeded');
    expect(await failure(repository.updateStatus(id, 'failed', { error: 'late' }))).toMatchObject({
      message: `Tool event ${id} has already finished as succeeded`,
      code: 'already_finished',
      status: 409,
    });
    const other = await repository.insert({ sessionId: 's', toolName: 't', arguments: {} });
    expect(await failure(repository.updateStatus(other.id, 'lost' as 'failed'))).toMatchObject({
      message: 'status must be pending, executing, succeeded or failed',
      code: 'invalid_argument',
      status: 400,
    });
    expect(
      await failure(repository.insert({ toolName: 't', arguments: {} } as never)),
    ).toMatchObject({ message: 'session_id is required', code: 'invalid_argument' });
  });
});

describe('hookifyDecisions', () => {
  test('a decision is recorded with the hash of its content, listed, and cannot be cleared', async () => {
    const sessionId = randomUUID();
    const decision = await hookifyDecisions.recordHookifyDecision({
      sessionId,
      source: 'timeline',
      severity: 'high',
      blocked: true,
      rules: [{ id: 'r', severity: 'high', title: 'not kept' } as never],
      message: 'Blocked',
      content: 'naïve 😀',
    });
    expect(decision).toEqual({
      id: expect.stringMatching(/^hook_[0-9a-f-]{36}$/),
      sessionId,
      source: 'timeline',
      severity: 'high',
      blocked: true,
      rules: [{ id: 'r', severity: 'high' }],
      message: 'Blocked',
      contentHash: createHash('sha256').update('naïve 😀', 'utf8').digest('hex'),
      createdAt: expect.stringMatching(ISO),
    });
    expect(await hookifyDecisions.listHookifyDecisions(sessionId)).toEqual([decision]);
    expect((await failure(hookifyDecisions.clearHookifyDecisions())).message).toBe(
      'Hookify decisions are an audit and cannot be cleared',
    );
    expect(await hookifyDecisions.listHookifyDecisions(sessionId)).toHaveLength(1);
  });
});

describe('misalignments', () => {
  test('a dismissed misalignment stays dismissed when it is ingested again', async () => {
    const sessionId = randomUUID();
    const candidate = {
      ruleId: 'tests-first',
      title: 'Tests come first',
      summary: 'No test was written',
      severity: 'high' as const,
      eventRange: { startIndex: 1, endIndex: 4, startAt: '', endAt: '' },
      evidence: [{ message: 'edited', eventIndex: 2 }],
    };
    const [found] = await misalignments.ingestMisalignmentCandidates(sessionId, [candidate]);
    const id = `mis-${sessionId}-tests-first`;
    expect(found).toEqual({
      ...candidate,
      id,
      sessionId,
      status: 'open',
      createdAt: expect.stringMatching(ISO),
      updatedAt: expect.stringMatching(ISO),
    });
    const { record, previousStatus } = await misalignments.updateMisalignmentStatus(
      sessionId,
      id,
      'dismissed',
    );
    expect([record.status, previousStatus]).toEqual(['dismissed', 'open']);
    const again = await misalignments.upsertMisalignment({
      ...candidate,
      sessionId,
      status: 'open',
      summary: 'Still none',
    });
    expect([again.status, again.summary]).toEqual(['dismissed', 'Still none']);
    expect(await misalignments.listMisalignments(sessionId)).toEqual([again]);

    const move = (session: string, which: string, to: string) =>
      failure(misalignments.updateMisalignmentStatus(session, which, to as 'open'));
    expect(await move(sessionId, id, 'dismissed')).toMatchObject({
      message: 'Cannot transition misalignment from dismissed to dismissed',
      code: 'illegal_transition',
      status: 409,
      details: { from: 'dismissed', to: 'dismissed' },
    });
    expect((await move(sessionId, 'none', 'open')).message).toBe('Misalignment not found');
    expect((await move('other', id, 'open')).message).toBe('Misalignment not found');
    expect((await move(sessionId, id, 'done')).message).toBe('Invalid misalignment status: done');
  });

  test('a new misalignment is stored with its status; long lists are complete', async () => {
    const owner = ownProfile();
    const { misalignments: own } = sessionbase.forProfile(owner, { restUrl, jwtSecret });
    const record = { sessionId: 's', ruleId: 'r', title: 't', summary: 's' };
    expect((await own.upsertMisalignment({ ...record, status: 'acknowledged' })).status).toBe(
      'acknowledged',
    );
    const many = Array.from({ length: 1050 }, (_, number) => ({
      ...record,
      // Characters that the condition of the next page must escape, and others that it must not.
      ruleId: `"r,\t\n\\${number}`,
    }));
    const stored = await own.ingestMisalignmentCandidates('many', many);
    const listed = await own.listMisalignments('many');
    expect(stored.map(({ ruleId }) => ruleId)).toEqual(many.map(({ ruleId }) => ruleId));
    expect(listed).toEqual(stored);

    // Ordered by the id only, so that the condition of the next page contains it.
    const byId = await connectionFor(owner, { restUrl, jwtSecret }).list<MisalignmentRow>(
      'misalignments',
      ['id'],
      { session_id: 'many' },
    );
    expect(byId.map(({ id }) => id).sort()).toEqual(stored.map(({ id }) => id).sort());
  });

  test('an invalid candidate is reported with its index in the whole list', async () => {
    const { misalignments: own } = ownModules();
    const withInvalid = (place: number, wrong: object) =>
      Array.from({ length: 510 }, (_, number) => ({
        ruleId: `r${number}`,
        title: 't',
        summary: 's',
        ...(number === place ? wrong : {}),
      }));
    const refused = (place: number, wrong: object) =>
      failure(own.ingestMisalignmentCandidates('s', withInvalid(place, wrong)));
    for (const place of [3, 507]) {
      expect(await refused(place, { severity: 'grave' })).toMatchObject({
        status: 400,
        details: { field: 'severity', index: place },
      });
      expect(await refused(place, { title: 5 })).toMatchObject({
        message: `Candidate ${place}: title must be a text`,
        code: 'invalid_argument',
        details: { field: 'title', index: place },
      });
    }
  });
});

describe('todos', () => {
  test('todos are added, toggled, listed and deleted', async () => {
    const todo = await todos.addTodo('write a test');
    expect(todo).toEqual({
      id: expect.any(String),
      text: 'write a test',
      completed: false,
      createdAt: expect.stringMatching(ISO),
    });
    expect(await todos.toggleTodoRecord(todo.id)).toEqual({ ...todo, completed: true });
    expect(await todos.listTodos()).toEqual([{ ...todo, completed: true }]);
    await todos.deleteTodoRecord(todo.id);
    expect(await todos.listTodos()).toEqual([]);
  });

  test('an unknown id, a blank text and a long text are errors', async () => {
    for (const id of [randomUUID(), 'no uuid']) {
      for (const call of [todos.toggleTodoRecord, todos.deleteTodoRecord]) {
        expect(await failure(call(id))).toMatchObject({
          message: 'Todo not found',
          status: 404,
          details: { id },
        });
      }
    }
    expect(await failure(todos.addTodo(' \n'))).toMatchObject({
      message: 'text must not be blank',
      code: 'invalid_argument',
      status: 400,
      details: { field: 'text' },
    });
    expect(await failure(todos.addTodo('x'.repeat(65_537)))).toMatchObject({
      message: 'text may have 64 KiB at most',
      code: 'payload_too_large',
      status: 413,
    });
  });

  test('concurrent toggles all take effect', async () => {
    const todo = await todos.addTodo('twice');
    await Promise.all([1, 2, 3, 4, 5].map(() => todos.toggleTodoRecord(todo.id)));
    const stored = (await todos.listTodos()).find(({ id }) => id === todo.id);
    expect(stored?.completed).toBe(true);
  });
});

describe('sessionRepoBindings', () => {
  test('a binding is set, replaced, listed and cleared', async () => {
    const sessionId = randomUUID();
    expect(await sessionRepoBindings.getSessionRepoBinding(sessionId)).toBeNull();
    const first = await sessionRepoBindings.setSessionRepoBinding({
      sessionId,
      assetPath: '/a',
      rootDir: '/r',
    });
    expect(Math.abs(first.updatedAt - Date.now())).toBeLessThan(60_000);
    expect(Number.isInteger(first.updatedAt)).toBe(true);
    const second = await sessionRepoBindings.setSessionRepoBinding({
      sessionId,
      assetPath: '/b',
      rootDir: '/r',
    });
    expect(await sessionRepoBindings.getSessionRepoBinding(sessionId)).toEqual(second);
    expect(await sessionRepoBindings.listSessionRepoBindings()).toEqual([second]);
    await sessionRepoBindings.clearSessionRepoBinding(sessionId);
    await sessionRepoBindings.clearSessionRepoBinding(sessionId);
    expect(await sessionRepoBindings.listSessionRepoBindings()).toEqual([]);
  });
});

describe('uiSettings', () => {
  test('a document is loaded as it was saved, including unknown keys', async () => {
    const own = ownProfile();
    expect(await uiSettings.loadUiSettings(own)).toBeNull();
    expect(await uiSettings.loadUiSettingsWithRevision(own)).toBeNull();
    const snapshot = {
      lastSessionPath: null,
      bookmarks: [{ id: 1 }],
      later: { nested: [null, 1.5] },
    };
    expect(await uiSettings.saveUiSettings(own, snapshot)).toEqual(snapshot);
    expect(await uiSettings.loadUiSettings(own)).toEqual(snapshot);
    expect(await uiSettings.loadUiSettingsWithRevision(own)).toEqual({
      settings: snapshot,
      revision: 1,
      updatedAt: expect.stringMatching(ISO),
    });
  });

  test('a stale save gets the stored settings in the error; a patch keeps other changes', async () => {
    const own = ownProfile();
    await uiSettings.saveUiSettings(own, { a: 1, b: 1 }, { expectedRevision: 0 });
    const patched = await uiSettings.patchUiSettings(own, { a: 2, c: { d: 3 } });
    expect(patched).toMatchObject({ settings: { a: 2, b: 1, c: { d: 3 } }, revision: 2 });
    const stale = await failure(uiSettings.saveUiSettings(own, { a: 9 }, { expectedRevision: 1 }));
    expect(stale).toMatchObject({
      message: 'The settings are at revision 2, not 1; nothing was saved',
      code: 'stale_revision',
      status: 409,
      details: { revision: 2, settings: { a: 2, b: 1, c: { d: 3 } } },
    });
    await uiSettings.patchUiSettings(own, { c: null }, { expectedRevision: 2 });
    expect(await uiSettings.loadUiSettings(own)).toEqual({ a: 2, b: 1 });
  });

  test('saving the settings of a guest is an error', async () => {
    expect(await failure(uiSettings.saveUiSettings('', { a: 1 }))).toMatchObject({
      message: 'Nothing was saved: the server keeps no settings for a guest',
      code: 'guest_not_stored',
      status: 403,
    });
  });
});

test('sessionContext returns the data of a session in one call', async () => {
  const { toolEvents: events, ...own } = ownModules();
  const event = await events.insert({ sessionId: 's', toolName: 't', arguments: {} });
  const binding = await own.sessionRepoBindings.setSessionRepoBinding({
    sessionId: 's',
    assetPath: '/a',
    rootDir: '/r',
  });
  const [kept, gone] = await own.misalignments.ingestMisalignmentCandidates('s', [
    { ruleId: 'a', title: 't', summary: 's' },
    { ruleId: 'b', title: 't', summary: 's' },
  ]);
  await own.misalignments.updateMisalignmentStatus('s', gone!.id, 'dismissed');
  expect(await own.sessionContext('s')).toEqual({
    sessionId: 's',
    binding,
    misalignments: [kept],
    unfinishedToolEvents: [event],
    counts: {
      toolEvents: { pending: 0, executing: 1, succeeded: 0, failed: 0 },
      misalignments: { open: 1, acknowledged: 0, dismissed: 1 },
      hookifyDecisions: { blocked: 0, allowed: 0 },
    },
  });
  expect((await sessionContext('none')).binding).toBeNull();
});

describe('profiles', () => {
  test('see their own rows only; the modules of one profile cannot act for another', async () => {
    const [alice, bob] = [ownModules(), ownModules()];
    await alice.todos.addTodo('of alice');
    expect(await bob.todos.listTodos()).toEqual([]);
    expect(await failure(bob.uiSettings.loadUiSettings(profile))).toMatchObject({
      code: 'wrong_profile',
    });
  });
});

describe('a value that cannot be stored', () => {
  const cases: [string, (text: string) => Promise<unknown>][] = [
    [
      'arguments.query',
      (text) =>
        toolEvents.insertChatToolEvent({
          sessionId: 's',
          toolName: 't',
          arguments: { query: text },
        }),
    ],
    [
      'result[1].deep',
      (text) =>
        toolEvents.updateChatToolEventStatus('x', 'succeeded', { result: [1, { deep: text }] }),
    ],
    [
      'toolCallId',
      (text) => toolEvents.getChatToolEventRepository().updateStatusByToolCall(text, 'failed', {}),
    ],
    [
      'content',
      (text) =>
        hookifyDecisions.recordHookifyDecision({
          sessionId: 's',
          source: 'manual',
          severity: 'none',
          blocked: false,
          rules: [],
          content: text,
        }),
    ],
    [
      'candidates[0].evidence[0].message',
      (text) =>
        misalignments.ingestMisalignmentCandidates('s', [
          { ruleId: 'r', title: 't', summary: 's', evidence: [{ message: text }] },
        ]),
    ],
    ['text', (text) => todos.addTodo(text)],
    [
      'rootDir',
      (text) =>
        sessionRepoBindings.setSessionRepoBinding({
          sessionId: 's',
          assetPath: 'a',
          rootDir: text,
        }),
    ],
    ['a key of settings', (text) => uiSettings.saveUiSettings(profile, { [text]: 1 })],
    ['patch.bookmarks[0]', (text) => uiSettings.patchUiSettings(profile, { bookmarks: [text] })],
  ];
  test.each(cases)('is refused, and the message contains its path: %s', async (field, call) => {
    expect(await failure(call('a\u0000b'))).toMatchObject({
      message: `${field} contains the character \\u0000, which cannot be stored`,
      code: 'not_storable',
      details: { field },
    });
    expect((await failure(call('a\ud83db'))).message).toBe(
      `${field} contains an unpaired surrogate, which cannot be stored`,
    );
  });

  test.each<[string, unknown]>([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['a BigInt', 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a Map', new Map([['a', 1]])],
    ['a Set', new Set([1])],
  ])('is refused if JSON cannot represent it: %s', async (what, value) => {
    expect(
      await failure(
        toolEvents.insertChatToolEvent({
          sessionId: 's',
          toolName: 't',
          arguments: { deep: [0, value] },
        }),
      ),
    ).toMatchObject({
      message: `arguments.deep[1] is ${what}, which JSON cannot represent`,
      code: 'not_storable',
      details: { field: 'arguments.deep[1]' },
    });
    expect(await failure(uiSettings.saveUiSettings(profile, { value }))).toMatchObject({
      code: 'not_storable',
      details: { field: 'settings.value' },
    });
  });

  test('does not include emoji and other valid text', async () => {
    const text = 'é 漢字 😀 \u0001 \u2028 "\\';
    const [todo] = [await todos.addTodo(text)];
    expect((await todos.listTodos()).find(({ id }) => id === todo.id)?.text).toBe(text);
  });
});
