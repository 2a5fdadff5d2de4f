import { SessionbaseError } from './errors.js';

// JSON allows U+0000 and unpaired surrogates; PostgreSQL cannot store them.
// eslint-disable-next-line no-control-regex -- U+0000 is what to look for
const NOT_STORABLE = /[\u0000\p{Surrogate}]/u;

/**
 * Check the input of a call before it is sent. Throws `not_storable` if a string or a key cannot be
 * stored by PostgreSQL, or if JSON.stringify would drop or change a value (NaN, a Map, …). The message
 * contains the path of the value, for example `arguments.query` or `evidence[0].message`.
 */
export function assertStorable(input: object): void {
  for (const [field, value] of Object.entries(input)) checkValue(value, field);
}

function checkValue(value: unknown, path: string): void {
  if (typeof value === 'string') {
    if (NOT_STORABLE.test(value)) throwForText(value, path);
    return;
  }
  const type = typeThatIsNotJson(value);
  if (type) {
    throwNotStorable(
      `${path} is ${type}, which JSON cannot represent`,
      path,
      'Nothing was sent. Use null, or convert the value, for example to a string',
    );
  }
  if (Array.isArray(value)) {
    value.forEach((element, index) => checkValue(element, `${path}[${index}]`));
  } else if (typeof value === 'object' && value !== null) {
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      checkValue((value as { toJSON: () => unknown }).toJSON(), path);
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (NOT_STORABLE.test(key)) throwForText(key, `a key of ${path}`);
      checkValue(member, `${path}.${key}`);
    }
  }
}

/** Describe `value` if JSON.stringify would drop it, change it or fail; otherwise null. */
function typeThatIsNotJson(value: unknown): string | null {
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value === 'bigint') return 'a BigInt';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (value instanceof Map) return 'a Map';
  if (value instanceof Set) return 'a Set';
  return null;
}

function throwForText(text: string, path: string): never {
  const character = text.includes('\u0000') ? 'the character \\u0000' : 'an unpaired surrogate';
  throwNotStorable(
    `${path} contains ${character}, which cannot be stored`,
    path,
    'Nothing was sent. Remove the character, or encode the text, for example as Base64',
  );
}

function throwNotStorable(message: string, field: string, hint: string): never {
  throw new SessionbaseError(message, {
    code: 'not_storable',
    status: 0,
    details: { field },
    hint,
  });
}
