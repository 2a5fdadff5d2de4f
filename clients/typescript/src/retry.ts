import type { ResolvedConfiguration } from './configuration.js';
import { SessionbaseError } from './errors.js';
import type { TokenSource } from './token.js';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;
const RETRIED_STATUSES = [502, 503, 504];
/** PostgREST could not use the database: no connection, schema cache not loaded, connection pool timeout. */
const NOT_EXECUTED_CODES = ['PGRST000', 'PGRST002', 'PGRST003'];
/** Socket errors that occur before anything is sent. */
const NOT_SENT_CODES = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'];
/** PostgREST rejected the token, which may have expired. */
const INVALID_TOKEN_CODES = ['PGRST301', 'PGRST303'];

/** The state of one call over all its attempts. */
export interface RetryState {
  /** Whether the server may have executed an attempt whose response was lost. */
  mayHaveExecuted: boolean;
  /** The error of the last attempt, if no response was received; otherwise null. */
  error: Error | null;
}

/**
 * Create the `fetch` function for one call. It adds the token, limits the time of each attempt, and
 * retries with exponential backoff and jitter. A call that is not `idempotent` is retried only if the
 * server cannot have executed it. The response is returned when its whole body has been received, so
 * that a connection that is lost during the body is retried as well.
 */
export function createRetryingFetch(
  configuration: ResolvedConfiguration,
  tokens: TokenSource | null,
  idempotent: boolean,
  state: RetryState,
): typeof fetch {
  return async (input, init) => {
    let tokenRejected = false;
    for (let attempt = 0; ; attempt += 1) {
      const isLast = attempt >= configuration.retries;
      try {
        const { response, errorCode } = await fetchOnce(configuration, tokens, input, init);
        if (tokens && !tokenRejected && INVALID_TOKEN_CODES.includes(errorCode)) {
          tokenRejected = true;
          tokens.invalidate();
          continue;
        }
        if (!RETRIED_STATUSES.includes(response.status)) return response;
        const notExecuted = NOT_EXECUTED_CODES.includes(errorCode);
        if (!notExecuted) state.mayHaveExecuted = true;
        if (isLast || !(idempotent || notExecuted)) return response;
      } catch (error) {
        if (error instanceof TokenError) {
          state.error = error.cause;
          throw error;
        }
        const notSent = NOT_SENT_CODES.includes(socketErrorCode(error));
        if (!notSent) state.mayHaveExecuted = true;
        if (isLast || !(idempotent || notSent)) {
          state.error = unreachable(configuration, error, state.mayHaveExecuted, idempotent);
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
  /** The `code` of an error response of PostgREST; otherwise empty. */
  errorCode: string;
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
    errorCode: status < 400 ? '' : errorCodeOf(body),
  };
}

function errorCodeOf(body: string): string {
  try {
    const { code } = JSON.parse(body) as { code?: unknown };
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
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
  mayHaveExecuted: boolean,
  idempotent: boolean,
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
      details: { mayHaveExecuted },
      hint:
        mayHaveExecuted && !idempotent
          ? 'The server may have executed the call, and repeating it is not safe: read the data before you try again'
          : 'Check that sessionbase is running (sessionbase status), and that the URL is right',
      cause,
    },
  );
}
