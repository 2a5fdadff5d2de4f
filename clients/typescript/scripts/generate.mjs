// Writes src/generated/database.ts from the OpenAPI document of a running stack:
//   SESSIONBASE_REST_URL=… SESSIONBASE_TOKEN=… npm run generate
// `--print` prints it instead (the tests compare). The document of PostgREST says nothing of nulls
// in a view and nothing of what a function returns; src/rows.ts adds both.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const TARGET = fileURLToPath(new URL('../src/generated/database.ts', import.meta.url));
const url = process.env.SESSIONBASE_REST_URL ?? 'http://127.0.0.1:3000';
const token = process.env.SESSIONBASE_TOKEN;

if (!token) {
  console.error(
    'Set SESSIONBASE_TOKEN, for example: SESSIONBASE_TOKEN=$(sessionbase token --profile p)',
  );
  process.exit(1);
}
const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
if (!response.ok) {
  console.error(`${url} answered ${response.status}: ${await response.text()}`);
  process.exit(1);
}
const text = render(await response.json());
if (process.argv.includes('--print')) process.stdout.write(text);
else writeFileSync(TARGET, text);

function render(document) {
  const sorted = (object) => Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = [
    '// Written by `npm run generate` from the OpenAPI document of a running stack. Do not edit.',
    '',
    'export type Database = {',
    '  api: {',
    '    Tables: Record<never, never>;',
    '    Views: {',
  ];
  for (const [name, definition] of sorted(document.definitions)) {
    const columns = sorted(definition.properties).map(([column, schema]) => [
      column,
      typeOf(schema),
    ]);
    lines.push(`      /** ${firstLine(definition.description)} */`, `      ${name}: {`);
    lines.push('        Row: {');
    for (const [column, type] of columns) {
      lines.push(`          /** ${firstLine(definition.properties[column].description)} */`);
      lines.push(`          ${column}: ${orNull(type)};`);
    }
    lines.push('        };');
    for (const [key, method] of [
      ['Insert', 'post'],
      ['Update', 'patch'],
    ]) {
      if (!document.paths[`/${name}`]?.[method]) continue;
      lines.push(`        ${key}: {`);
      for (const [column, type] of columns) lines.push(`          ${column}?: ${orNull(type)};`);
      lines.push('        };');
    }
    lines.push('        Relationships: [];', '      };');
  }
  lines.push('    };', '    Functions: {');
  for (const [path, methods] of sorted(document.paths)) {
    if (!path.startsWith('/rpc/')) continue;
    const schema = methods.post.parameters.find((parameter) => parameter.in === 'body').schema;
    lines.push(
      `      /** ${firstLine(methods.post.summary)} */`,
      `      ${path.slice('/rpc/'.length)}: {`,
    );
    lines.push('        Args: {');
    for (const [name, property] of sorted(schema.properties ?? {})) {
      const optional = schema.required?.includes(name) ? '' : '?';
      lines.push(`          ${name}${optional}: ${orNull(typeOf(property))};`);
    }
    lines.push('        };', '        Returns: unknown;', '      };');
  }
  lines.push('    };', '  };', '};', '');
  return lines.join('\n');
}

function typeOf(schema) {
  if (schema.format === 'jsonb' || schema.format === 'json') return 'unknown';
  const types = { string: 'string', integer: 'number', number: 'number', boolean: 'boolean' };
  return types[schema.type] ?? 'unknown';
}

function orNull(type) {
  return type === 'unknown' ? type : `${type} | null`;
}

function firstLine(text = '') {
  return text.split('\n')[0].replaceAll('*/', '* /');
}
