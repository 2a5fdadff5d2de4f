import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { decodeJwt, SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { configure, forProfile, type SessionbaseError, todosStore } from '../src/index.js';
import { type Fate, jwtSecret, ownProfile, proxy, restUrl } from './support/stack.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** The modules behind a proxy that treats the requests one after the other as told, then passes all. */
async function through(...fates: Fate[]) {
  const between = await proxy((_, number) => fates[number - 1] ?? 'pass');
  closing.push(between.close);
  const profileId = ownProfile();
  return {
    ...between,
    modules: forProfile(profileId, { restUrl: between.url, jwtSecret }),
    direct: forProfile(profileId, { restUrl, jwtSecret }),
  };
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('the call should have failed'),
    (error: unknown) => error as SessionbaseError,
  );

describe('a call that is safe to repeat', () => {
  test.each<[string, Fate]>([
    ['a lost connection', 'refuse'],
    ['a lost answer', 'swallow'],
    ['a 502', 502],
    ['a 503', 503],
    ['a 504', 504],
  ])('is repeated after %s and stores once', async (_, fate) => {
    const { modules, direct, seen } = await through(fate, fate);
    const event = await modules.chatToolEvents.insert({
      sessionId: 's',
      toolName: 't',
      arguments: {},
    });
    expect(seen).toHaveLength(3);
    expect(await direct.chatToolEvents.listBySession('s')).toEqual([event]);
  });

  test('is given up after the limit, saying what is wrong', async () => {
    const gone = forProfile('p', { restUrl: 'http://127.0.0.1:9', jwtSecret, retries: 1 });
    expect(await failure(gone.todosStore.listTodos())).toMatchObject({
      code: 'unreachable',
      status: 0,
      message: expect.stringContaining('sessionbase at http://127.0.0.1:9 does not answer'),
    });
    const { modules, seen } = await through(...Array<Fate>(20).fill(503));
    expect(await failure(modules.todosStore.listTodos())).toMatchObject({
      message: 'sessionbase answered with status 503',
      code: 'http_503',
      status: 503,
    });
    expect(seen).toHaveLength(6);
  });

  test('is not repeated when the server refuses it', async () => {
    const { modules, seen } = await through();
    await failure(modules.chatToolEvents.updateStatus('tool_none', 'failed'));
    expect(seen).toHaveLength(1);
  });

  test('a decision whose answer was lost is in the audit once', async () => {
    const { modules, direct } = await through('swallow');
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

  test('a status whose answer was lost counts as changed', async () => {
    const { modules, direct } = await through('pass', 'swallow');
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

  test('a todo whose answer was lost is on the list once, and its deletion is quiet', async () => {
    const { modules, direct } = await through('swallow', 'pass', 'pass', 'pass', 'swallow');
    const { record, txid } = await modules.todosStore.withTxid.addTodo('once');
    expect(Number.isInteger(txid)).toBe(true);
    expect(await direct.todosStore.listTodos()).toEqual([record]);
    await modules.todosStore.deleteTodoRecord(record.id);
    expect(await direct.todosStore.listTodos()).toEqual([]);
  });

  test('an id that another todo has is refused even after a lost answer', async () => {
    const { modules } = await through('pass', 'refuse');
    const id = randomUUID();
    await modules.todosStore.insertTodo({ id, text: 'first' });
    expect(await failure(modules.todosStore.insertTodo({ id, text: 'second' }))).toMatchObject({
      status: 409,
    });
  });
});

describe('a toggle, which is not safe to repeat', () => {
  test.each<[string, Fate, boolean]>([
    ['a lost answer', 'swallow', true],
    ['a lost connection', 'refuse', false],
  ])('is not repeated after %s, and says so', async (_, fate, completed) => {
    const { modules, direct, seen } = await through('pass', fate);
    const todo = await modules.todosStore.addTodo('t');
    expect(await failure(modules.todosStore.toggleTodoRecord(todo.id))).toMatchObject({
      code: 'unreachable',
      details: { mayHaveHappened: true },
      hint: expect.stringContaining('not safe to repeat'),
    });
    expect(seen).toHaveLength(2);
    expect((await direct.todosStore.listTodos())[0]?.completed).toBe(completed);
  });
});

describe('finishing an event by its call, which is not safe to repeat', () => {
  async function twoOfOneCall(...fates: Fate[]) {
    const { direct, ...rest } = await through(...fates);
    const started = { sessionId: 's', toolCallId: 'call', toolName: 't', arguments: {} };
    await direct.chatToolEvents.insert(started);
    await direct.chatToolEvents.insert(started);
    const statuses = async () =>
      (await direct.chatToolEvents.listBySession('s')).map(({ status }) => status);
    return { ...rest, statuses };
  }

  test.each<[Fate, string[]]>([
    ['swallow', ['executing', 'succeeded']],
    ['refuse', ['executing', 'executing']],
  ])('is sent once where its fate is %s, and leaves the older event alone', async (fate, after) => {
    const { modules, seen, statuses } = await twoOfOneCall(fate);
    expect(
      await failure(modules.chatToolEvents.updateStatusByToolCall('call', 'succeeded')),
    ).toMatchObject({ code: 'unreachable', details: { mayHaveHappened: true } });
    expect(seen).toHaveLength(1);
    expect(await statuses()).toEqual(after);
  });

  test('is repeated where PostgREST says that nothing was done', async () => {
    const { modules, seen, statuses } = await twoOfOneCall('no database', 'no database');
    const done = await modules.chatToolEvents.updateStatusByToolCall('call', 'succeeded');
    expect(done?.status).toBe('succeeded');
    expect(seen).toHaveLength(3);
    expect(await statuses()).toEqual(['executing', 'succeeded']);
  });
});

test('a server that does not answer in time is left', async () => {
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
  expect((await failure(modules.todosStore.listTodos())).message).toBe(
    `sessionbase at http://127.0.0.1:${port} does not answer (in 100 ms)`,
  );
});

describe('tokens', () => {
  const sign = (profileId: string, lifetime: number, secret = jwtSecret) =>
    new SignJWT({ role: 'authenticated' })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(profileId)
      .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
      .sign(new TextEncoder().encode(secret));

  test('of a provider are kept until shortly before they expire, one for callers at once', async () => {
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
      await Promise.all([1, 2, 3].map(() => modules.todosStore.listTodos()));
      await modules.todosStore.listTodos();
      expect(asked).toBe(times);
    }
  });

  test('that the server refuses are renewed once', async () => {
    const profileId = ownProfile();
    const expired = () => sign(profileId, -3600);
    // Looks good until the server sees it: after a change of the secret, or with a wrong clock.
    const foreign = () => sign(profileId, 300, 'another secret, of thirty-two bytes or more');
    for (const refused of [expired, foreign]) {
      let asked = 0;
      const tokenProvider = () => ((asked += 1) === 1 ? refused() : sign(profileId, 300));
      const modules = forProfile(profileId, { restUrl, tokenProvider });
      expect(await modules.todosStore.listTodos()).toEqual([]);
      expect(asked).toBe(2);
      const never = forProfile(profileId, { restUrl, tokenProvider: refused });
      expect(await failure(never.todosStore.listTodos())).toMatchObject({ status: 401 });
    }
  });

  test('a provider that fails is heard', async () => {
    const modules = forProfile('p', {
      restUrl,
      tokenProvider: () => Promise.reject(new Error('signed out')),
    });
    expect((await failure(modules.todosStore.listTodos())).message).toBe('signed out');
  });

  test('made here live five minutes', async () => {
    let authorization = '';
    const between = await proxy((request) => {
      authorization = request.headers.authorization ?? '';
      return 'pass';
    });
    closing.push(between.close);
    const profileId = ownProfile();
    await forProfile(profileId, { restUrl: between.url, jwtSecret }).todosStore.listTodos();
    const { role, sub, iat, exp } = decodeJwt(authorization.replace('Bearer ', ''));
    expect([role, sub, Number(exp) - Number(iat)]).toEqual(['authenticated', profileId, 300]);
  });
});

describe('the configuration', () => {
  test('comes from the environment where none is given, and says what is missing', async () => {
    const kept = { ...process.env };
    try {
      configure({});
      process.env['UI_SETTINGS_PROFILE_ID'] = ownProfile();
      expect(await todosStore.listTodos()).toEqual([]);
      configure({});
      delete process.env['SESSIONBASE_JWT_SECRET'];
      expect((await failure(todosStore.listTodos())).message).toBe(
        'sessionbase is not configured: set SESSIONBASE_JWT_SECRET, or call configure({jwtSecret or tokenProvider})',
      );
      delete process.env['SESSIONBASE_REST_URL'];
      expect(await failure(todosStore.listTodos())).toMatchObject({
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
