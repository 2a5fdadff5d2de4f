import type { Database } from './generated/database.js';

type Views = Database['api']['Views'];

/**
 * A row of a view. The OpenAPI document describes every column of a view as nullable; `Nullable` lists
 * the columns that really are. If the database renames a column, the code that uses it does not compile.
 */
export type Row<View extends keyof Views, Nullable extends keyof Views[View]['Row'] = never> = {
  [Column in keyof Views[View]['Row']]: unknown extends Views[View]['Row'][Column]
    ? unknown
    : Column extends Nullable
      ? Views[View]['Row'][Column]
      : NonNullable<Views[View]['Row'][Column]>;
};

/** A row that was selected with `ALL_WITH_TXID`. */
export type RowWithTxid<Row> = Row & { txid: string };
/** The same for a write that may change nothing; then `txid` is null. */
export type RowWithOptionalTxid<Row> = Row & { txid: string | null };

/**
 * The return type of each function, which the OpenAPI document does not contain. The file of each domain
 * adds its own functions (`declare module`).
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- the domains add the members
export interface FunctionReturns {}

/** Convert a time of PostgreSQL (microseconds, `+00:00`) to the app's format (milliseconds, `Z`). */
export function toIsoTime(stored: string): string {
  return new Date(stored).toISOString();
}

/** Drop the fields that are null or undefined. */
export function omitNullish<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const entries = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  return Object.fromEntries(entries) as { [Name in keyof Fields]?: NonNullable<Fields[Name]> };
}
