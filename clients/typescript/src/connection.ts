import { PostgrestClient } from '@supabase/postgrest-js';
import {
  type Configuration,
  type ResolvedConfiguration,
  resolveConfiguration,
} from './configuration.js';
import { errorFromResponse, SessionbaseError } from './errors.js';
import type { Database } from './generated/database.js';
import { createRetryingFetch, type RetryRule, type RetryState } from './retry.js';
import type { FunctionReturns } from './rows.js';
import { TokenSource } from './token.js';
import { isRepeatable, type Write, type WritingFunction } from './writes.js';

/** The client of postgrest-js, with the types of the database. */
type Client = PostgrestClient<Database, Record<never, never>, 'api'>;

/** The result of a request of postgrest-js. */
interface Result {
  data: unknown;
  error: { message: string; code?: string; details?: unknown; hint?: string } | null;
  status: number;
}

type Arguments<Name extends keyof FunctionReturns> = Database['api']['Functions'][Name]['Args'];

interface WriteOptions<Data> {
  /**
   * Called with the error if an earlier attempt may have been executed. Returns the result to use
   * instead, or undefined: then the error is thrown.
   */
  recover?: (error: SessionbaseError) => Promise<Data | undefined>;
}

/** The `select` of a write: all columns, and the computed column `txid`, which the types do not contain. */
export const ALL_WITH_TXID = '*,txid' as '*';

const PAGE_SIZE = 1000;

/** The connection to the API for one profile; a `profileId` of null is a guest, who has no token. */
export class Connection {
  private readonly tokens: TokenSource | null;

  constructor(
    private readonly configuration: ResolvedConfiguration,
    readonly profileId: string | null = configuration.profileId,
    /** Whether calls may act for this profile only. */
    private readonly singleProfile = false,
  ) {
    this.tokens = profileId === null ? null : new TokenSource(configuration, profileId);
  }

  /** Return the connection of another profile; an empty id is a guest. */
  withProfile(profileId: string | null | undefined): Connection {
    if (profileId === this.profileId) return this;
    if (this.singleProfile) {
      throw new SessionbaseError(`These modules act for ${this.profileId}, not for ${profileId}`, {
        code: 'wrong_profile',
        status: 0,
      });
    }
    return new Connection(this.configuration, profileId || null);
  }

  /** Send a request that only reads. Every failure is thrown as a SessionbaseError. */
  async read<Data>(build: (client: Client) => PromiseLike<Result>): Promise<Data> {
    return this.send<Data>(build, { repeatable: true, afterLoss: 'not stored' });
  }

  /** Send a write of rows. Every failure is thrown as a SessionbaseError with its `outcome`. */
  async write<Data>(
    write: Exclude<Write, `POST /rpc/${string}`>,
    build: (client: Client) => PromiseLike<Result>,
  ): Promise<Data> {
    return this.send<Data>(build, { repeatable: isRepeatable(write, {}), afterLoss: 'unknown' });
  }

  /** Call a function of the database that only reads. */
  async callReader<Name extends Exclude<keyof FunctionReturns, WritingFunction>>(
    name: Name,
    args: Arguments<Name>,
  ): Promise<FunctionReturns[Name]> {
    return this.read((client) => client.rpc(name, args, { get: true }));
  }

  /** Call a function of the database that writes; returns all columns and the transaction id. */
  async call<Name extends WritingFunction & keyof FunctionReturns, Data = FunctionReturns[Name]>(
    name: Name,
    args: Arguments<Name>,
    { recover }: WriteOptions<Data> = {},
  ): Promise<Data> {
    return this.send<Data>((client) => client.rpc(name, args).select(ALL_WITH_TXID), {
      repeatable: isRepeatable(`POST /rpc/${name}`, args),
      afterLoss: 'unknown',
      ...(recover && { recover }),
    });
  }

  private async send<Data>(
    build: (client: Client) => PromiseLike<Result>,
    { recover, ...rule }: WriteOptions<Data> & RetryRule,
  ): Promise<Data> {
    const state: RetryState = { mayHaveExecuted: false, error: null };
    const client: Client = new PostgrestClient(this.configuration.restUrl, {
      schema: 'api',
      fetch: createRetryingFetch(this.configuration, this.tokens, rule, state),
      retry: false,
    });
    const { data, error, status } = await build(client);
    if (!error) return data as Data;
    if (state.error) throw state.error;
    const outcome = state.mayHaveExecuted ? rule.afterLoss : 'not stored';
    const failure = errorFromResponse(error, status, outcome, rule.repeatable);
    if (state.mayHaveExecuted && recover) {
      const recovered = await recover(failure);
      if (recovered !== undefined) return recovered;
    }
    throw failure;
  }

  /**
   * Read all rows of a view that match `filter`, in pages of 1000 rows, ordered by `keys`, which must be
   * unique together. A page with fewer rows is the last one. If the server has a lower limit
   * (`db-max-rows`, which sessionbase does not set), the list is cut off without an error.
   */
  async list<Row>(
    view: keyof Database['api']['Views'],
    keys: readonly Column<Row>[],
    filter: Partial<Record<Column<Row>, string>> = {},
  ): Promise<Row[]> {
    const rows: Row[] = [];
    for (let last: Row | undefined; ;) {
      const page: Row[] = await this.read<Row[]>((client) => {
        // The views differ in their columns only, which `Row` checks.
        let query = client
          .from(view as 'todos')
          .select()
          .match(filter);
        if (last !== undefined) query = query.or(conditionAfter(keys, last));
        for (const key of keys) query = query.order(key);
        return query.limit(PAGE_SIZE);
      });
      rows.push(...page);
      last = page.at(-1);
      if (page.length < PAGE_SIZE) return rows;
    }
  }
}

type Column<Row> = keyof Row & string;

/** PostgREST's `or` condition for the rows that follow `last` in the order of `keys`. */
function conditionAfter<Row>([key, ...others]: readonly Column<Row>[], last: Row): string {
  if (key === undefined) return '';
  // In PostgREST's quoted values a backslash escapes only the next character; \t would be a plain t.
  const value = `"${String(last[key]).replace(/["\\]/g, '\\$&')}"`;
  const next = conditionAfter(others, last);
  return `${key}.gt.${value}${next && `,and(${key}.eq.${value},or(${next}))`}`;
}

let configured: Configuration = {};
let shared: Connection | null = null;

/** Set how to reach sessionbase, for all modules. Replaces the earlier configuration completely. */
export function configure(configuration: Configuration): void {
  configured = configuration;
  shared = null;
}

/** The connection of the configured profile, used by the functions that are imported directly. */
export function sharedConnection(): Connection {
  shared ??= new Connection(resolveConfiguration(configured));
  return shared;
}

/** A separate connection for one profile, with a token of its own. */
export function connectionFor(profileId: string, configuration: Configuration = {}): Connection {
  const resolved = resolveConfiguration({ ...configured, ...configuration, profileId });
  return new Connection(resolved, profileId, true);
}
