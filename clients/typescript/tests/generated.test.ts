import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const committed = readFileSync(join(root, 'src/generated/database.ts'), 'utf8');
const copy = mkdtempSync(join(tmpdir(), 'sessionbase-types-'));
afterAll(() => rmSync(copy, { recursive: true }));

/** Run the generator, and return what it would write. */
async function generate(url: string, token: string): Promise<string> {
  const { stdout } = await run(process.execPath, [join(root, 'scripts/generate.mjs')], {
    env: { ...process.env, SESSIONBASE_REST_URL: url, SESSIONBASE_TOKEN: token },
  });
  return stdout;
}

describe('src/generated/database.ts', () => {
  test('marks a parameter as required if OpenAPI or its description says so', async () => {
    const parameter = { type: 'string', format: 'text' };
    const document = {
      definitions: {},
      paths: {
        '/rpc/rename': {
          post: {
            summary: 'Rename a thing',
            description:
              'Names are unique.\n\n- id: Required. The thing\n- note: Not Required. Any text',
            parameters: [
              {
                in: 'body',
                schema: {
                  properties: { id: parameter, name: parameter, note: parameter, other: parameter },
                  required: ['name'],
                },
              },
            ],
          },
        },
      },
    };
    const server = createServer((_, response) => response.end(JSON.stringify(document)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      expect(await generate(`http://127.0.0.1:${port}`, 'any')).toContain(`
      /** Rename a thing */
      rename: {
        Args: {
          id: string | null;
          name: string | null;
          note?: string | null;
          other?: string | null;
        };
`);
    } finally {
      server.close();
    }
  });

  test('types the client: a renamed column or parameter does not compile', async () => {
    for (const name of ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json']) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const renamed = committed
      .replaceAll('tool_call_id', 'provider_call_id')
      .replaceAll('root_dir', 'root_folder')
      .replaceAll('previous_status', 'status_before')
      .replaceAll('expected_revision', 'wanted_revision')
      .replaceAll('position', 'place');
    writeFileSync(join(copy, 'src/generated/database.ts'), renamed);
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    const project = join(copy, 'tsconfig.build.json');
    const errors = await run(process.execPath, [compiler, '-p', project]).then(
      () => '',
      (error: { stdout: string }) => error.stdout,
    );
    for (const [file, name] of [
      ['toolEvents', 'tool_call_id'],
      ['hookifyDecisions', 'position'],
      ['misalignments', 'previous_status'],
      ['sessionRepoBindings', 'root_dir'],
      ['uiSettings', 'expected_revision'],
    ]) {
      expect(errors).toMatch(new RegExp(`src/domains/${file}.*${name}`));
    }
  });
});
