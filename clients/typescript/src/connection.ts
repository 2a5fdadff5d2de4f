import { PostgrestClient } from '@supabase/postgrest-js';
import { fetchOf, type RetryState } from './attempt.js';
import { fromAnswer, SessionbaseError } from './errors.js';
import type { Database } from './generated/database.js';
import type { Answers } from './rows.js';
import { complete, type Configuration, type Settings } from './settings.js';
import { TokenSource } from './token.js';

/** postgrest-js, typed by the database. */
export type Client = PostgrestClient<Database, Record<never, never>, 'api'>;

/** What every request of postgrest-js comes to. */
interface Outcome {
  data: unknown;
  error: { message: string; code?: string; details?: unknown; hint?: string } | null;
  status: number;
}

/** How a request may be carried out. */
interface SendOptions<Data> {
  /** Whether a second time does no harm. */
  repeatable: boolean;
  /** What an error means after an attempt that may have been carried out; undefined: the error. */
  recover?: (error: SessionbaseError) => Promise<Data | undefined>;
}

/** The columns to ask a write for: all, and the transaction. The types know the first only. */
export const WRITTEN = '*,txid' as '*';

const PAGE = 1000;

/** The way to the API for one profile; null: for a guest, without a token. */
export class Connection {
  private readonly tokens: TokenSource | null;

  constructor(
    private readonly settings: Settings,
    readonly profileId: string | null = settings.profileId,
    /** Whether calls may name another profile. */
    private readonly fixed = false,
  ) {
    this.tokens = profileId === null ? null : new TokenSource(settings, profileId);
  }

  /** Give the way for the profile that a call names; empty: a guest's. */
  as(profileId: string | null | undefined): Connection {
    if (profileId === this.profileId) return this;
    if (this.fixed) {
      throw new SessionbaseError(`These modules act for ${this.profileId}, not for ${profileId}`, {
        code: 'wrong_profile',
        status: 0,
      });
    }
    return new Connection(this.settings, profileId || null);
  }

  /** Carry out one request; a failure becomes a SessionbaseError. */
  async send<Data>(
    build: (client: Client) => PromiseLike<Outcome>,
    options: SendOptions<Data>,
  ): Promise<Data> {
    const retryState: RetryState = { mayHaveHappened: false, failure: null };
    const client: Client = new PostgrestClient(this.settings.restUrl, {
      schema: 'api',
      fetch: fetchOf(this.settings, this.tokens, options.repeatable, retryState),
      retry: false,
    });
    const { data, error, status } = await build(client);
    if (!error) return data as Data;
    if (retryState.failure) throw retryState.failure;
    const failure = fromAnswer(error, status);
    if (retryState.mayHaveHappened && options.recover) {
      const recovered = await options.recover(failure);
      if (recovered !== undefined) return recovered;
    }
    throw failure;
  }

  /** Call a function of the database. */
  call<Name extends keyof Answers, Answer = Answers[Name]>(
    name: Name,
    args: Database['api']['Functions'][Name]['Args'],
    options: SendOptions<Answer> & {
      /** GET instead of POST: for what only reads. */
      get?: boolean;
      select?: '*';
    },
  ): Promise<Answer> {
    return this.send<Answer>((client) => {
      const request = client.rpc(name, args, { get: options.get ?? false });
      return options.select ? request.select(options.select) : request;
    }, options);
  }

  /**
   * Read a whole list, page by page, ordered by `keys`, which tell rows apart together. A page has
   * 1000 rows; a shorter one is the last. A server with a lower limit of its own (`db-max-rows`, which
   * sessionbase does not set) would cut the list: nothing in its answer tells, unless rows are counted.
   */
  async list<Row, Key extends keyof Row & string>(
    keys: readonly [Key] | readonly [Key, Key],
    build: (client: Client, page: Page) => PromiseLike<Outcome>,
  ): Promise<Row[]> {
    const rows: Row[] = [];
    for (let after: string | null = null; ;) {
      const page: Row[] = await this.send<Row[]>((client) => build(client, { after, size: PAGE }), {
        repeatable: true,
      });
      rows.push(...page);
      const last = page.at(-1);
      if (page.length < PAGE || last === undefined) return rows;
      after = rowsAfter(keys, last);
    }
  }
}

/** One page of a list. */
export interface Page {
  /** PostgREST's `or` condition for the rows after the page before; null: the first page. */
  after: string | null;
  size: number;
}

function rowsAfter<Row, Key extends keyof Row & string>(
  [first, second]: readonly [Key] | readonly [Key, Key],
  last: Row,
): string {
  // PostgREST takes every character after a backslash as itself: \t would be a t.
  const value = (key: Key) => `"${String(last[key]).replace(/["\\]/g, '\\$&')}"`;
  if (second === undefined) return `${first}.gt.${value(first)}`;
  return `${first}.gt.${value(first)},and(${first}.eq.${value(first)},${second}.gt.${value(second)})`;
}

let configured: Configuration = {};
let shared: Connection | null = null;

/** Say how to reach sessionbase, for all modules; replaces what was said before. */
export function configure(configuration: Configuration): void {
  configured = configuration;
  shared = null;
}

/** The connection of the modules that are imported as they are. */
export function sharedConnection(): Connection {
  shared ??= new Connection(complete(configured));
  return shared;
}

/** A connection for one signed-in user, which shares nothing with any other. */
export function connectionFor(profileId: string, configuration: Configuration = {}): Connection {
  return new Connection(complete({ ...configured, ...configuration, profileId }), profileId, true);
}
