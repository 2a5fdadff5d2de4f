import { SessionbaseError } from './errors.js';

// U+0000, and halves of a surrogate pair without the other: JSON can carry them, PostgreSQL can't keep them.
const NOT_STORABLE = /[\u0000\p{Surrogate}]/u;

/**
 * Throw `not_storable` if any text in `input` (keys included) can't be stored, or a value would be
 * lost or changed on its way into JSON, like NaN or a Map; the message names its place, for example
 * `arguments.query` or `evidence[0].message`.
 */
export function requireStorable(input: object): void {
  for (const [field, value] of Object.entries(input)) check(value, field);
}

function check(value: unknown, path: string): void {
  if (typeof value === 'string') {
    if (NOT_STORABLE.test(value)) refuseText(value, path);
    return;
  }
  const what = notJson(value);
  if (what) {
    refuse(
      `${path} is ${what}, which JSON cannot carry`,
      path,
      'Nothing was sent. Give null, or what can be written as JSON, for example a string',
    );
  }
  if (Array.isArray(value)) {
    value.forEach((element, index) => check(element, `${path}[${index}]`));
  } else if (typeof value === 'object' && value !== null) {
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      check(value.toJSON(), path);
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (NOT_STORABLE.test(key)) refuseText(key, `a key of ${path}`);
      check(member, `${path}.${key}`);
    }
  }
}

/** What `value` is, if JSON.stringify would drop it, change it or fail; else null. */
function notJson(value: unknown): string | null {
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value === 'bigint') return 'a BigInt';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (value instanceof Map) return 'a Map';
  if (value instanceof Set) return 'a Set';
  return null;
}

function refuseText(text: string, path: string): never {
  const what = text.includes('\u0000') ? 'the character \\u0000' : 'half a surrogate pair';
  refuse(
    `${path} contains ${what}, which cannot be stored`,
    path,
    'Nothing was sent. Remove the character, or encode the text, for example as Base64',
  );
}

function refuse(message: string, field: string, hint: string): never {
  throw new SessionbaseError(message, { code: 'not_storable', status: 0, details: { field }, hint });
}
