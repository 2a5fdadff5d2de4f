import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { decodeJwt, SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { configure, forProfile, type SessionbaseError, todos } from '../src/index.js';
import {
  jwtSecret,
  LOST,
  NO_DATABASE,
  ownProfile,
  type ProxyAction,
  restUrl,
  startProxy,
} from './support/stack.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Create modules that use a proxy: it handles the first requests as `actions` say, and forwards the others. */
async function withProxy(...actions: ProxyAction[]) {
  const proxy = await startProxy((_, number) => actions[number - 1] ?? 'forward');
  closing.push(proxy.close);
  const profileId = ownProfile();
  return {
    ...proxy,
    modules: forProfile(profileId, { restUrl: proxy.url, jwtSecret }),
    direct: forProfile(profileId, { restUrl, jwtSecret }),
  };
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('the call should have failed'),
    (error: unknown) => error as SessionbaseError,
  );

describe('a repeatable call', () => {
  test.each<[string, ProxyAction]>([
    ['a lost connection', 'drop request'],
    ['a lost response', 'drop response'],
    ['a 502', 502],
    ['a 503', 503],
    ['a 504', 504],
    ['an error without a code', LOST],
    ['PGRST001', { status: 503, code: 'PGRST001', executes: true }],
    ['a shutdown', { status: 503, code: '57P01', executes: true }],
    ['a connection error', { status: 503, code: '08006', executes: true }],
  ])('is retried after %s, and stores one row', async (_, action) => {
    const { modules, direct, requests } = await withProxy(action, action);
    const event = await modules.toolEvents.insert({
      sessionId: 's',
      toolName: 't',
      arguments: {},
    });
    expect(requests).toHaveLength(3);
    expect(await direct.toolEvents.listBySession('s')).toEqual([event]);
  });

  test('fails after the configured number of retries, with an error that says why', async () => {
    const gone = forProfile('p', { restUrl: 'http://127.0.0.1:9', jwtSecret, retries: 1 });
    expect(await failure(gone.todos.listTodos())).toMatchObject({
      code: 'unreachable',
      status: 0,
      message: expect.stringContaining('sessionbase at http://127.0.0.1:9 does not answer'),
    });
    const { modules, requests } = await withProxy(...Array<ProxyAction>(20).fill(503));
    expect(await failure(modules.todos.listTodos())).toMatchObject({
      message: 'sessionbase answered with status 503',
      code: 'http_503',
      status: 503,
      outcome: 'not stored', // It only reads.
    });
    expect(requests).toHaveLength(6);
  });

  test('fails with the outcome unknown if the response of each attempt was lost', async () => {
    const { modules, requests } = await withProxy(...Array<ProxyAction>(20).fill(LOST));
    expect(await failure(modules.todos.addTodo('t'))).toMatchObject({
      message: 'The connection to the database was lost during the call',
      code: 'unreachable',
      status: 400,
      outcome: 'unknown',
      hint: expect.stringContaining('safe to repeat'),
    });
    expect(requests).toHaveLength(6);
  });

  test('fails with the outcome unknown if a retry is refused: an earlier attempt can be stored', async () => {
    const { modules, direct } = await withProxy('drop response');
    const id = randomUUID();
    const event = { id, sessionId: 's', toolName: 't', arguments: {} };
    await direct.toolEvents.insert({ ...event, status: 'pending' });
    await direct.toolEvents.updateStatus(id, 'succeeded');
    expect(await failure(modules.toolEvents.updateStatus(id, 'executing'))).toMatchObject({
      code: 'already_finished',
      outcome: 'unknown',
    });
    // Without a lost response the same refusal is final.
    expect(await failure(direct.toolEvents.updateStatus(id, 'executing'))).toMatchObject({
      code: 'already_finished',
      outcome: 'not stored',
    });
  });

  test('that sends several requests fails with the outcome unknown if an earlier one was stored', async () => {
    const { modules, direct } = await withProxy('forward', 400);
    const todo = { id: randomUUID(), text: 't', completed: true };
    expect(await failure(modules.todos.insertTodo(todo))).toMatchObject({
      code: 'http_400',
      outcome: 'unknown',
    });
    expect(await direct.todos.listTodos()).toMatchObject([{ ...todo, completed: false }]);

    const valid = { ruleId: 'r', title: 't', summary: 's' };
    const candidates = [...Array(500).keys()].map((n) => ({ ...valid, ruleId: `r${n}` }));
    const refused = { ...valid, severity: 'unknown' as 'low' };
    const { misalignments } = direct;
    expect(
      await failure(misalignments.ingestMisalignmentCandidates('s', [...candidates, refused])),
    ).toMatchObject({ code: 'invalid_argument', details: { index: 500 }, outcome: 'unknown' });
    expect(await misalignments.listMisalignments('s')).toHaveLength(500);
    expect(await failure(misalignments.ingestMisalignmentCandidates('t', [refused]))).toMatchObject(
      { code: 'invalid_argument', details: { index: 0 }, outcome: 'not stored' },
    );
  });

  test('is not retried when the server answers with an error', async () => {
    const { modules, requests } = await withProxy();
    await failure(modules.toolEvents.updateStatus('tool_none', 'failed'));
    expect(requests).toHaveLength(1);
  });

  test('stores a decision once if the response is lost', async () => {
    const { modules, direct } = await withProxy('drop response');
    const decision = await modules.hookifyDecisions.recordHookifyDecision({
      sessionId: 's',
      source: 'manual',
      severity: 'low',
      blocked: false,
      rules: [],
      content: 'c',
    });
    expect(await direct.hookifyDecisions.listHookifyDecisions('s')).toEqual([decision]);
  });

  test('succeeds if a status was changed and the response is lost', async () => {
    const { modules, direct } = await withProxy('forward', 'drop response');
    const [found] = await modules.misalignments.ingestMisalignmentCandidates('s', [
      { ruleId: 'r', title: 't', summary: 's' },
    ]);
    const { record, previousStatus } = await modules.misalignments.updateMisalignmentStatus(
      's',
      found!.id,
      'dismissed',
    );
    expect([record.status, previousStatus]).toEqual(['dismissed', 'open']);
    expect(await direct.misalignments.listMisalignments('s')).toEqual([record]);
  });

  test('adds a todo once if the response is lost, and deletes it without an error', async () => {
    const { modules, direct } = await withProxy('drop response', 'forward', 'drop response');
    const { record, txid } = await modules.todos.withTxid.addTodo('once');
    expect(txid).toBeNull(); // The retry wrote nothing: the first attempt had added the todo.
    expect(await direct.todos.listTodos()).toEqual([record]);
    await modules.todos.deleteTodoRecord(record.id);
    expect(await direct.todos.listTodos()).toEqual([]);
  });

  test('adds a completed todo once if the response of either request is lost', async () => {
    const { modules, direct, requests } = await withProxy(
      'drop response',
      'forward',
      'drop response',
    );
    const todo = { id: randomUUID(), text: 'done', completed: true };
    const stored = await modules.todos.insertTodo(todo);
    expect(stored).toMatchObject(todo);
    expect(requests).toEqual([
      'POST /rpc/add_todo',
      'POST /rpc/add_todo',
      'PATCH /todos',
      'PATCH /todos',
    ]);
    expect(await direct.todos.listTodos()).toEqual([stored]);
  });

  test('refuses the id of another todo, even after a lost request', async () => {
    const { modules, direct } = await withProxy('forward', 'drop request');
    const id = randomUUID();
    const first = await modules.todos.insertTodo({ id, text: 'first' });
    expect(await failure(modules.todos.insertTodo({ id, text: 'second' }))).toMatchObject({
      code: 'id_taken',
      status: 409,
    });
    expect(await direct.todos.listTodos()).toEqual([first]);
  });
});

describe('a toggle, which is not repeatable,', () => {
  test.each<[string, ProxyAction, boolean]>([
    ['a lost response', 'drop response', true],
    ['a lost connection', 'drop request', false],
    ['an error without a code', LOST, true],
    ['PGRST001', { status: 503, code: 'PGRST001', executes: true }, true],
    ['a 504 of a proxy', 504, false],
  ])('is not retried after %s, and the error says so', async (_, action, completed) => {
    const { modules, direct, requests } = await withProxy('forward', action);
    const todo = await modules.todos.addTodo('t');
    expect(await failure(modules.todos.toggleTodoRecord(todo.id))).toMatchObject({
      outcome: 'unknown',
      hint: expect.stringContaining('repeating it is not safe'),
    });
    expect(requests).toHaveLength(2);
    expect((await direct.todos.listTodos())[0]?.completed).toBe(completed);
  });

  test.each<[string, ProxyAction]>([
    ['no database connection', NO_DATABASE],
    ['no free connection', { status: 504, code: 'PGRST003', executes: false }],
    ['a deadlock', { status: 500, code: '40P01', executes: false }],
    ['a serialization failure', { status: 500, code: '40001', executes: false }],
    ['too many connections', { status: 503, code: '53300', executes: false }],
  ])('is retried after %s: nothing was executed', async (_, action) => {
    const { modules, requests } = await withProxy('forward', action, action);
    const todo = await modules.todos.addTodo('t');
    expect((await modules.todos.toggleTodoRecord(todo.id)).completed).toBe(true);
    expect(requests).toHaveLength(4);
  });

  test.each<[string, ProxyAction]>([
    ['a statement timeout', { status: 500, code: '57014', executes: false }],
    ['a refusal by a proxy', 413],
  ])('is not retried after %s, and was not stored', async (_, action) => {
    const { modules, requests } = await withProxy('forward', action);
    const todo = await modules.todos.addTodo('t');
    expect(await failure(modules.todos.toggleTodoRecord(todo.id))).toMatchObject({
      outcome: 'not stored',
    });
    expect(requests).toHaveLength(2);
  });
});

describe('finishing an event by its tool call id, which is not repeatable,', () => {
  async function twoEventsOfOneCall(...actions: ProxyAction[]) {
    const { direct, ...rest } = await withProxy(...actions);
    const started = { sessionId: 's', toolCallId: 'call', toolName: 't', arguments: {} };
    await direct.toolEvents.insert(started);
    await direct.toolEvents.insert(started);
    const statuses = async () =>
      (await direct.toolEvents.listBySession('s')).map(({ status }) => status);
    return { ...rest, statuses };
  }

  test.each<[ProxyAction, string[]]>([
    ['drop response', ['executing', 'succeeded']],
    ['drop request', ['executing', 'executing']],
  ])(
    'is sent once if the proxy does: %s, and does not change the older event',
    async (action, after) => {
      const { modules, requests, statuses } = await twoEventsOfOneCall(action);
      expect(
        await failure(modules.toolEvents.updateStatusByToolCall('call', 'succeeded')),
      ).toMatchObject({ code: 'unreachable', outcome: 'unknown' });
      expect(requests).toHaveLength(1);
      expect(await statuses()).toEqual(after);
    },
  );

  test('is retried if PostgREST reports that it has no connection to the database', async () => {
    const { modules, requests, statuses } = await twoEventsOfOneCall(NO_DATABASE, NO_DATABASE);
    const done = await modules.toolEvents.updateStatusByToolCall('call', 'succeeded');
    expect(done?.status).toBe('succeeded');
    expect(requests).toHaveLength(3);
    expect(await statuses()).toEqual(['executing', 'succeeded']);
  });
});

test('a request to a server that does not answer ends after the timeout', async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  });
  const { port } = silent.address() as { port: number };
  const modules = forProfile('p', {
    restUrl: `http://127.0.0.1:${port}`,
    jwtSecret,
    timeoutMs: 100,
    retries: 1,
  });
  expect((await failure(modules.todos.listTodos())).message).toBe(
    `sessionbase at http://127.0.0.1:${port} does not answer (within 100 ms)`,
  );
});

describe('tokens', () => {
  const sign = (profileId: string, lifetime: number, secret = jwtSecret) =>
    new SignJWT({ role: 'authenticated' })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(profileId)
      .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
      .sign(new TextEncoder().encode(secret));

  test('of a provider are cached until shortly before they expire, and shared by concurrent calls', async () => {
    for (const [lifetime, times] of [
      [300, 1],
      [30, 2],
    ] as const) {
      let asked = 0;
      const profileId = ownProfile();
      const modules = forProfile(profileId, {
        restUrl,
        tokenProvider: async (wanted) => {
          expect(wanted).toBe(profileId);
          asked += 1;
          return sign(wanted, lifetime);
        },
      });
      await Promise.all([1, 2, 3].map(() => modules.todos.listTodos()));
      await modules.todos.listTodos();
      expect(asked).toBe(times);
    }
  });

  test('that the server rejects are replaced once', async () => {
    const profileId = ownProfile();
    const expired = () => sign(profileId, -3600);
    // Only the server can see that it is invalid: the secret was changed, for example.
    const wrongSecret = () => sign(profileId, 300, 'another secret, of thirty-two bytes or more');
    for (const invalid of [expired, wrongSecret]) {
      let asked = 0;
      const tokenProvider = () => ((asked += 1) === 1 ? invalid() : sign(profileId, 300));
      const modules = forProfile(profileId, { restUrl, tokenProvider });
      expect(await modules.todos.listTodos()).toEqual([]);
      expect(asked).toBe(2);
      const alwaysInvalid = forProfile(profileId, { restUrl, tokenProvider: invalid });
      expect(await failure(alwaysInvalid.todos.listTodos())).toMatchObject({ status: 401 });
    }
  });

  test('of a provider that fails: the call throws the error of the provider', async () => {
    const modules = forProfile('p', {
      restUrl,
      tokenProvider: () => Promise.reject(new Error('signed out')),
    });
    expect((await failure(modules.todos.listTodos())).message).toBe('signed out');
  });

  test('created by the client are valid for five minutes', async () => {
    let authorization = '';
    const proxy = await startProxy((request) => {
      authorization = request.headers.authorization ?? '';
      return 'forward';
    });
    closing.push(proxy.close);
    const profileId = ownProfile();
    await forProfile(profileId, { restUrl: proxy.url, jwtSecret }).todos.listTodos();
    const { role, sub, iat, exp } = decodeJwt(authorization.replace('Bearer ', ''));
    expect([role, sub, Number(exp) - Number(iat)]).toEqual(['authenticated', profileId, 300]);
  });
});

describe('the configuration', () => {
  test('is read from the environment, and the error names a missing variable', async () => {
    const kept = { ...process.env };
    try {
      configure({});
      process.env['UI_SETTINGS_PROFILE_ID'] = ownProfile();
      expect(await todos.listTodos()).toEqual([]);
      configure({});
      delete process.env['SESSIONBASE_JWT_SECRET'];
      expect((await failure(todos.listTodos())).message).toBe(
        'sessionbase is not configured: set SESSIONBASE_JWT_SECRET, or call configure({jwtSecret or tokenProvider})',
      );
      delete process.env['SESSIONBASE_REST_URL'];
      expect(await failure(todos.listTodos())).toMatchObject({
        code: 'not_configured',
        message:
          'sessionbase is not configured: set SESSIONBASE_REST_URL, or call configure({restUrl})',
      });
    } finally {
      Object.assign(process.env, kept);
      configure({});
    }
  });
});
