import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SignJWT } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import { jwtSecret, ownProfile, restUrl } from './support/stack.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const committed = readFileSync(join(root, 'src/generated/database.ts'), 'utf8');
const copy = mkdtempSync(join(tmpdir(), 'sessionbase-types-'));
afterAll(() => rmSync(copy, { recursive: true }));

describe('the types of the database', () => {
  test('are what the running stack says: else run `npm run generate`', async () => {
    const token = await new SignJWT({ role: 'authenticated' })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(ownProfile())
      .setExpirationTime('1m')
      .sign(new TextEncoder().encode(jwtSecret));
    const { stdout } = await run(
      process.execPath,
      [join(root, 'scripts/generate.mjs'), '--print'],
      {
        env: { ...process.env, SESSIONBASE_REST_URL: restUrl, SESSIONBASE_TOKEN: token },
      },
    );
    expect(stdout).toBe(committed);
  });

  test('are used: a column or parameter with another name does not compile', async () => {
    for (const name of ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json']) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const renamed = committed
      .replaceAll('tool_call_id', 'provider_call_id')
      .replaceAll('root_dir', 'root_folder')
      .replaceAll('previous_status', 'status_before')
      .replaceAll('expected_revision', 'wanted_revision');
    writeFileSync(join(copy, 'src/generated/database.ts'), renamed);
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    const complaints = await run(process.execPath, [
      compiler,
      '-p',
      join(copy, 'tsconfig.build.json'),
    ]).then(
      () => '',
      (error: { stdout: string }) => error.stdout,
    );
    for (const [file, name] of [
      ['toolEvents', 'tool_call_id'],
      ['bindings', 'root_dir'],
      ['misalignment', 'previous_status'],
      ['settings', 'expected_revision'],
    ]) {
      expect(complaints).toMatch(new RegExp(`domains/${file}.*${name}`));
    }
  });
});
