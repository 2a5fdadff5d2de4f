import { SessionkeepError } from './errors.js';

// U+0000, and halves of a surrogate pair without the other: JSON can carry them, PostgreSQL can't keep them.
const NOT_STORABLE = /[\u0000\p{Surrogate}]/u;

/**
 * Throw `not_storable` if any text in `input` (keys included) can't be stored; the message names
 * its place, for example `arguments.query` or `evidence[0].message`.
 */
export function requireStorable(input: object): void {
  for (const [field, value] of Object.entries(input)) check(value, field);
}

function check(value: unknown, path: string): void {
  if (typeof value === 'string') {
    if (NOT_STORABLE.test(value)) refuse(value, path);
  } else if (Array.isArray(value)) {
    value.forEach((element, index) => check(element, `${path}[${index}]`));
  } else if (typeof value === 'object' && value !== null) {
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      check(value.toJSON(), path);
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (NOT_STORABLE.test(key)) refuse(key, `a key of ${path}`);
      check(member, `${path}.${key}`);
    }
  }
}

function refuse(text: string, path: string): never {
  const what = text.includes('\u0000') ? 'the character \\u0000' : 'half a surrogate pair';
  throw new SessionkeepError(`${path} contains ${what}, which cannot be stored`, {
    code: 'not_storable',
    status: 0,
    details: { field: path },
    hint: 'Nothing was sent. Remove the character, or encode the text, for example as Base64',
  });
}
