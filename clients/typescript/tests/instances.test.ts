import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { forProfile } from '../src/index.js';
import { jwtSecret, ownProfile, restUrl } from './support/stack.js';

const run = promisify(execFile);
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** Start another process that uses the built package, like another instance of the app. */
function startInstance(profileId: string): (call: string, ...input: unknown[]) => Promise<unknown> {
  const child: ChildProcess = fork(new URL('./support/instance.mjs', import.meta.url), {
    env: {
      ...process.env,
      SESSIONBASE_REST_URL: restUrl,
      SESSIONBASE_JWT_SECRET: jwtSecret,
      UI_SETTINGS_PROFILE_ID: profileId,
    },
  });
  cleanups.push(() => void child.kill());
  return async (call, ...input) => {
    child.send({ call, input });
    const [answer] = (await once(child, 'message')) as [{ value?: unknown; error?: string }];
    if (answer.error) throw new Error(answer.error);
    return answer.value;
  };
}

describe('two instances of the app', () => {
  test("see each other's writes immediately, and concurrent toggles all take effect", async () => {
    const profileId = ownProfile();
    const [one, two] = [startInstance(profileId), startInstance(profileId)];
    const event = (await one('toolEvents.insertChatToolEvent', {
      sessionId: 's',
      toolCallId: 'c',
      toolName: 't',
      arguments: {},
    })) as { id: string };
    expect(await two('toolEvents.listChatToolEvents', 's')).toEqual([event]);
    const done = await two('toolEvents.updateChatToolEventStatus', event.id, 'succeeded', {
      result: 1,
    });
    expect(await one('toolEvents.listChatToolEvents', 's')).toEqual([done]);

    const todo = (await one('todos.addTodo', 't')) as { id: string };
    for (let round = 0; round < 5; round += 1) {
      await Promise.all([one, two].map((each) => each('todos.toggleTodoRecord', todo.id)));
    }
    expect(await two('todos.listTodos')).toEqual([todo]);

    await one('uiSettings.saveUiSettings', profileId, { a: 1, b: 1 });
    await Promise.all([
      one('uiSettings.patchUiSettings', profileId, { a: 2 }),
      two('uiSettings.patchUiSettings', profileId, { b: 2 }),
    ]);
    expect(await one('uiSettings.loadUiSettings', profileId)).toEqual({ a: 2, b: 2 });
  });
});

async function freePort(): Promise<string> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  return String(port);
}

describe('calls during a restart of the stack', () => {
  test('succeed when the stack is up again', async () => {
    const command = process.env['SESSIONBASE_COMMAND'];
    if (!command)
      throw new Error(
        'SESSIONBASE_COMMAND is not set. Run: pytest -n 1 tests/cli/test_typescript.py',
      );
    const folder = mkdtempSync(join(tmpdir(), 'sessionbase-ts-'));
    const dataDir = ['--data-dir', join(folder, 'data')];
    const ports = ['--port', await freePort(), '--admin-port', await freePort()];
    cleanups.push(() => rmSync(folder, { recursive: true }));
    cleanups.push(
      async () => void (await run(command, ['down', ...dataDir, '--delete-data', '--yes'])),
    );
    await run(command, ['up', ...dataDir, ...ports, '--no-sample']);
    const { stdout } = await run(command, ['token', '--profile', 'p', '--ttl', '1h', ...dataDir]);
    const modules = forProfile('p', {
      restUrl: `http://127.0.0.1:${ports[1]}`,
      tokenProvider: () => stdout.trim(),
      retries: 30,
    });

    const before = await modules.todos.addTodo('before');
    await run(command, ['down', ...dataDir]);
    const during = Promise.all([
      modules.todos.addTodo('during'),
      modules.todos.toggleTodoRecord(before.id),
    ]);
    await run(command, ['up', ...dataDir]);
    const [added, toggled] = await during;
    expect(await modules.todos.listTodos()).toEqual([toggled, added]);
    expect(toggled.completed).toBe(true);
  });
});
