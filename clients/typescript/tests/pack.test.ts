import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jwtSecret, ownProfile, restUrl } from './support/stack.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'sessionbase-pack-'));
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  devDependencies: Record<string, string>;
};
const tool = (path: string, ...args: string[]) =>
  run(process.execPath, [join(project, 'node_modules', path), ...args], { cwd: project });
const vite = (...args: string[]) => tool('vite/bin/vite.js', ...args);

beforeAll(async () => {
  cpSync(join(root, 'tests/empty-project'), project, { recursive: true });
  const packed = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', project],
    {
      cwd: root,
    },
  );
  const name = readdirSync(project).find((file) => file.endsWith('.tgz'));
  expect(packed.stdout).toContain('dist/index.js');
  const tools = ['vite', 'typescript', '@tanstack/query-core', '@tanstack/query-db-collection'].map(
    (each) => `${each}@${devDependencies[each]}`,
  );
  await run(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${name}`, ...tools],
    {
      cwd: project,
    },
  );
  await vite('build');
}, 180_000);
afterAll(() => rmSync(project, { recursive: true }));

describe('the packed package in an empty Vite and TypeScript project', () => {
  test('compiles with strict types and runs on a server', async () => {
    await tool('typescript/bin/tsc', '-p', '.');
    await vite('build', '--ssr', 'src/server.ts', '--outDir', 'server');
    const { stdout } = await run(process.execPath, [join(project, 'server/server.js')], {
      env: {
        ...process.env,
        SESSIONBASE_REST_URL: restUrl,
        SESSIONBASE_JWT_SECRET: jwtSecret,
        UI_SETTINGS_PROFILE_ID: ownProfile(),
      },
    });
    expect(JSON.parse(stdout)).toEqual({
      todos: [['runs', true]],
      events: 1,
      others: [[], [], [], null],
      settings: [{ lastSessionPath: '/' }, { lastSessionPath: '/' }],
      executing: 1,
      refused: 'Todo not found',
    });
  });

  test('declares no types of its internal functions', async () => {
    const internal = join(project, 'src/internal.ts');
    writeFileSync(
      internal,
      "import { bindTodos } from 'sessionbase/todos';\nconsole.log(bindTodos);\n",
    );
    await expect(tool('typescript/bin/tsc', '-p', '.')).rejects.toMatchObject({
      stdout: expect.stringContaining("has no exported member 'bindTodos'") as string,
    });
    rmSync(internal);
  });

  test.each(['connection', 'rows', 'token', 'generated/database', 'domains/todos'])(
    'does not export the internal path %s',
    async (path) => {
      const code = `await import('sessionbase/${path}')`;
      await expect(
        run(process.execPath, ['--input-type=module', '-e', code], { cwd: project }),
      ).rejects.toMatchObject({
        stderr: expect.stringContaining('ERR_MODULE_NOT_FOUND') as string,
      });
    },
  );

  test('needs no TanStack package if the collection is not used', async () => {
    rmSync(join(project, 'node_modules/@tanstack'), { recursive: true });
    rmSync(join(project, 'src/client.ts'));
    await tool('typescript/bin/tsc', '-p', '.');
  });

  test('adds no code to a browser bundle that uses a secret or creates tokens', () => {
    const assets = join(project, 'dist/assets');
    const bundle = readdirSync(assets)
      .map((file) => readFileSync(join(assets, file), 'utf8'))
      .join('\n');
    expect(bundle).toContain('sessionbase-guest-settings');
    for (const word of [
      'jwtSecret',
      'JWT_SECRET',
      'HS256',
      'SignJWT',
      'Bearer',
      'PostgrestClient',
    ]) {
      expect(bundle).not.toContain(word);
    }
  });

  test.each([
    ['listTodos', 'sessionbase/todos'],
    ['listChatToolEvents', 'sessionbase/toolEvents'],
    ['forProfile', 'sessionbase'],
    ['configure', 'sessionbase'],
  ])('a browser bundle that imports %s from %s does not build', async (name, from) => {
    const entry = join(project, `src/${name}.ts`);
    writeFileSync(entry, `import { ${name} } from '${from}';\nconsole.log(${name});\n`);
    writeFileSync(
      join(project, `${name}.html`),
      `<script type="module" src="/src/${name}.ts"></script>`,
    );
    writeFileSync(
      join(project, `${name}.config.mjs`),
      `export default { build: { outDir: 'no', rollupOptions: { input: '${name}.html' } } };`,
    );
    await expect(vite('build', '--config', `${name}.config.mjs`)).rejects.toThrow(
      `"${name}" is not exported by`,
    );
  });
});

const executablePath = process.env['SESSIONBASE_CHROMIUM'];

describe.skipIf(!executablePath)('guestSettings in headless Chromium', () => {
  let server: Server;
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const path = request.url === '/' ? '/index.html' : (request.url ?? '');
      try {
        const content = readFileSync(join(project, 'dist', path));
        const type = path.endsWith('.js') ? 'text/javascript' : 'text/html';
        response
          .writeHead(200, { 'Content-Type': type, 'Access-Control-Allow-Origin': '*' })
          .end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    await new Promise((resolve) => server.close(resolve));
  });

  const open = async (where = browser) => {
    const page = await where.newPage();
    await page.goto(url);
    await page.waitForFunction('"saveGuestSettings" in globalThis');
    return page;
  };

  test('saves settings that can be loaded after a reload', async () => {
    const page = await open();
    expect(await page.evaluate('loadGuestSettings()')).toBeNull();
    expect(await page.evaluate('saveGuestSettings({ bookmarks: [1, "é"] })')).toEqual({
      saved: true,
    });
    await page.reload();
    await page.waitForFunction('"saveGuestSettings" in globalThis');
    expect(await page.evaluate('guestSettings.loadGuestSettings()')).toEqual({
      bookmarks: [1, 'é'],
    });
    await page.evaluate('localStorage.setItem("sessionbase-guest-settings", "{damaged")');
    expect(await page.evaluate('loadGuestSettings()')).toBeNull();
  });

  test('reports a full quota, and keeps the settings that were saved before', async () => {
    const page = await open();
    expect(await page.evaluate('saveGuestSettings({ before: true })')).toEqual({ saved: true });
    const filled = await page.evaluate(`{
      let size = 1 << 20, filled = 0;
      while (size > 0) {
        try { localStorage.setItem('filler' + filled, 'x'.repeat(size)); filled += size; }
        catch { size >>= 1; }
      }
      filled;
    }`);
    expect(filled).toBeGreaterThan(4_000_000);
    expect(await page.evaluate('saveGuestSettings({ after: "x".repeat(100) })')).toEqual({
      saved: false,
      reason: 'quota',
    });
    expect(await page.evaluate('loadGuestSettings()')).toEqual({ before: true });
  });

  test('reports that storage is not available in a sandboxed frame', async () => {
    const page = await open();
    await page.setContent(`<iframe sandbox="allow-scripts" src="${url}"></iframe>`);
    await expect.poll(() => page.frames().length).toBe(2);
    const frame = page.frames()[1]!;
    await frame.waitForFunction('"saveGuestSettings" in globalThis');
    expect(await frame.evaluate('saveGuestSettings({ a: 1 })')).toEqual({
      saved: false,
      reason: 'unavailable',
    });
    expect(await frame.evaluate('loadGuestSettings()')).toBeNull();
  });

  test('reports that storage is not available if it is disabled', async () => {
    const withoutStorage = await chromium.launch({
      executablePath: executablePath!,
      args: ['--no-sandbox', '--disable-local-storage'],
    });
    try {
      const page = await open(withoutStorage);
      expect(await page.evaluate('globalThis.localStorage ?? null')).toBeNull();
      expect(await page.evaluate('saveGuestSettings({ a: 1 })')).toEqual({
        saved: false,
        reason: 'unavailable',
      });
    } finally {
      await withoutStorage.close();
    }
  });
});
