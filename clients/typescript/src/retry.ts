import type { ResolvedConfiguration } from './configuration.js';
import { hintForUnknown, type Outcome, SessionbaseError } from './errors.js';
import type { TokenSource } from './token.js';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;
/** Statuses of a proxy that could not reach the server, or not in time. */
const RETRIED_STATUSES = [408, 502, 503, 504];
/**
 * Nothing was executed, or it was rolled back, and the reason is temporary. PostgREST could not use the
 * database: no connection, schema cache not loaded, connection pool timeout. Or PostgreSQL chose the
 * transaction to resolve a conflict (40…), or had not enough of a resource (53…). profile_locked: an
 * operator imports or erases the profile.
 */
const NOT_EXECUTED = /^(PGRST00[023]|40001|40P01|53...|profile_locked)$/;
/**
 * The transaction may have been committed. The code is empty if PostgREST lost its connection to
 * PostgreSQL while it waited for a result. 08: connection errors, also of PgBouncer. 57P: PostgreSQL is
 * shut down. 40003: PostgreSQL's code for this case. PGRSTX00: PostgREST could not read the result.
 * PGRST111 and PGRST112 are raised after the commit.
 */
const LOST = /^(|PGRST001|PGRSTX00|PGRST11[12]|08...|57P0[1-5]|40003)$/;
/** Socket errors that occur before anything is sent. */
const NOT_SENT_CODES = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'];
/** PostgREST rejected the token, which may have expired. */
const INVALID_TOKEN_CODES = ['PGRST301', 'PGRST303'];

/** How a call can be repeated, and what is known if it fails. */
export interface RetryRule {
  /** Whether the request can be repeated if the server may have executed it. */
  repeatable: boolean;
  /** The outcome of the call if the response of an attempt was lost. */
  afterLoss: Outcome;
}

/** The state of one call over all its attempts. */
export interface RetryState {
  /** Whether the server may have executed an attempt whose response was lost. */
  mayHaveExecuted: boolean;
  /** The error of the last attempt, if no response was received; otherwise null. */
  error: Error | null;
}

/**
 * Create the `fetch` function for one call. It adds the token, limits the time of each attempt, and
 * retries with exponential backoff and jitter. A call that is not `repeatable` is retried only if the
 * server cannot have executed it. The response is returned when its whole body has been received, so
 * that a connection that is lost during the body is retried as well.
 */
export function createRetryingFetch(
  configuration: ResolvedConfiguration,
  tokens: TokenSource | null,
  { repeatable, afterLoss }: RetryRule,
  state: RetryState,
): typeof fetch {
  return async (input, init) => {
    let tokenRejected = false;
    for (let attempt = 0; ; attempt += 1) {
      const isLast = attempt >= configuration.retries;
      try {
        const { response, errorCode } = await fetchOnce(configuration, tokens, input, init);
        if (tokens && !tokenRejected && INVALID_TOKEN_CODES.includes(errorCode ?? '')) {
          tokenRejected = true;
          tokens.invalidate();
          continue;
        }
        const result = resultOf(response.status, errorCode);
        if (result === 'unknown') state.mayHaveExecuted = true;
        const retried =
          result === 'not executed' ||
          (result === 'unknown' && repeatable && isTemporary(response.status, errorCode));
        if (isLast || !retried) return response;
      } catch (error) {
        if (error instanceof TokenError) {
          state.error = error.cause;
          throw error;
        }
        const notSent = NOT_SENT_CODES.includes(socketErrorCode(error));
        if (!notSent) state.mayHaveExecuted = true;
        if (isLast || !(repeatable || notSent)) {
          state.error = unreachable(
            configuration,
            error,
            state.mayHaveExecuted ? afterLoss : 'not stored',
            repeatable,
          );
          throw error;
        }
      }
      const maximum = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, maximum * (0.5 + Math.random() / 2)));
    }
  };
}

/** The token could not be created or fetched; `cause` is the error. */
class TokenError extends Error {
  override readonly cause: Error;

  constructor(cause: unknown) {
    super('no token');
    this.cause = cause instanceof Error ? cause : new Error(String(cause));
  }
}

interface Attempt {
  response: Response;
  /** The `code` of an error response of PostgREST, which can be empty; null of any other response. */
  errorCode: string | null;
}

/** What a response says about the write; `final`: it was executed, or refused and rolled back. */
function resultOf(status: number, code: string | null): 'final' | 'not executed' | 'unknown' {
  if (status < 400) return 'final';
  // A proxy: it refuses with 4xx before it forwards the request, except if the request took too long.
  if (code === null) return status < 500 && status !== 408 ? 'final' : 'unknown';
  if (NOT_EXECUTED.test(code)) return 'not executed';
  return LOST.test(code) ? 'unknown' : 'final';
}

/** Whether the same request can have another result later. */
function isTemporary(status: number, code: string | null): boolean {
  return code === null ? RETRIED_STATUSES.includes(status) : !code.startsWith('PGRST11');
}

async function fetchOnce(
  configuration: ResolvedConfiguration,
  tokens: TokenSource | null,
  input: RequestInfo | URL,
  init: RequestInit | undefined,
): Promise<Attempt> {
  const headers = new Headers(init?.headers);
  if (tokens) {
    const token = await tokens.get().catch((cause: unknown) => {
      throw new TokenError(cause);
    });
    headers.set('Authorization', `Bearer ${token}`);
  }
  const signal = AbortSignal.timeout(configuration.timeoutMs);
  const received = await fetch(input, { ...init, headers, signal });
  const body = await received.text();
  const { status, statusText } = received;
  const hasNoBody = [204, 205, 304].includes(status);
  return {
    response: new Response(hasNoBody ? null : body, {
      status,
      statusText,
      headers: received.headers,
    }),
    errorCode: status < 400 ? null : errorCodeOf(body),
  };
}

function errorCodeOf(body: string): string | null {
  try {
    const { code } = JSON.parse(body) as { code?: unknown };
    return typeof code === 'string' ? code : null;
  } catch {
    return null;
  }
}

function socketErrorCode(error: unknown): string {
  const cause =
    error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' ? cause.code : '';
}

function unreachable(
  configuration: ResolvedConfiguration,
  cause: unknown,
  outcome: Outcome,
  repeatable: boolean,
): SessionbaseError {
  const timedOut = cause instanceof Error && cause.name === 'TimeoutError';
  const reason = timedOut
    ? `within ${configuration.timeoutMs} ms`
    : socketErrorCode(cause) || 'the connection failed';
  return new SessionbaseError(
    `sessionbase at ${configuration.restUrl} does not answer (${reason})`,
    {
      code: 'unreachable',
      status: 0,
      outcome,
      hint:
        outcome === 'unknown'
          ? hintForUnknown(repeatable)
          : 'Check that sessionbase is running (sessionbase status), and that the URL is right',
      cause,
    },
  );
}
