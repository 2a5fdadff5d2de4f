import { SessionbaseError } from './errors.js';
import type { Settings } from './settings.js';
import type { TokenSource } from './token.js';

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;
const RETRIED_STATUSES = [502, 503, 504];
/** PostgREST's own: no connection to the database, schema not loaded yet, none free. Nothing was done. */
const NOTHING_DONE_CODES = ['PGRST000', 'PGRST002', 'PGRST003'];
/** Errors of the socket after which nothing can have been sent. */
const NOTHING_SENT_CODES = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'];
const TOKEN_REFUSED_CODES = ['PGRST301', 'PGRST303'];

/** What happened on the way of one call. */
export interface RetryState {
  /** Whether an attempt without an answer, or with a gateway's, may have been carried out. */
  mayHaveHappened: boolean;
  /** Why there was no answer at all in the end. */
  failure: unknown;
}

/**
 * A `fetch` for one call: with a token, a time limit for each attempt, and repetitions with growing
 * random waits. A call that is not `repeatable` is repeated only if nothing can have been done.
 * It answers when the whole body has arrived, so that a connection lost half-way is retried too.
 */
export function fetchOf(
  settings: Settings,
  tokens: TokenSource | null,
  repeatable: boolean,
  retryState: RetryState,
): typeof fetch {
  return async (input, init) => {
    let tokenRefused = false;
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt >= settings.retries;
      try {
        const answer = await once(settings, tokens, input, init);
        if (tokens && !tokenRefused && TOKEN_REFUSED_CODES.includes(answer.code)) {
          tokenRefused = true;
          tokens.forget();
          continue;
        }
        if (!RETRIED_STATUSES.includes(answer.response.status)) return answer.response;
        const nothingDone = NOTHING_DONE_CODES.includes(answer.code);
        if (!nothingDone) retryState.mayHaveHappened = true;
        if (last || !(repeatable || nothingDone)) return answer.response;
      } catch (error) {
        if (error instanceof TokenError) {
          retryState.failure = error.cause;
          throw error;
        }
        const nothingSent = NOTHING_SENT_CODES.includes(socketCode(error));
        if (!nothingSent) retryState.mayHaveHappened = true;
        if (last || !(repeatable || nothingSent)) {
          retryState.failure = unreachable(settings, error, retryState.mayHaveHappened, repeatable);
          throw error;
        }
      }
      const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, ceiling * (0.5 + Math.random() / 2)));
    }
  };
}

class TokenError extends Error {}

interface Answer {
  response: Response;
  /** PostgREST's code of an error; empty without. */
  code: string;
}

async function once(
  settings: Settings,
  tokens: TokenSource | null,
  input: RequestInfo | URL,
  init: RequestInit | undefined,
): Promise<Answer> {
  const headers = new Headers(init?.headers);
  if (tokens) {
    const token = await tokens.get().catch((cause: unknown) => {
      throw new TokenError('no token', { cause });
    });
    headers.set('Authorization', `Bearer ${token}`);
  }
  const signal = AbortSignal.timeout(settings.timeoutMs);
  const arrived = await fetch(input, { ...init, headers, signal });
  const body = await arrived.text();
  const { status, statusText } = arrived;
  const hasNoBody = [204, 205, 304].includes(status);
  return {
    response: new Response(hasNoBody ? null : body, {
      status,
      statusText,
      headers: arrived.headers,
    }),
    code: status < 400 ? '' : codeOf(body),
  };
}

function codeOf(body: string): string {
  try {
    const { code } = JSON.parse(body) as { code?: unknown };
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}

function socketCode(error: unknown): string {
  const cause =
    error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' ? cause.code : '';
}

function unreachable(
  settings: Settings,
  cause: unknown,
  mayHaveHappened: boolean,
  repeatable: boolean,
): SessionbaseError {
  const timedOut = cause instanceof Error && cause.name === 'TimeoutError';
  const why = timedOut
    ? `in ${settings.timeoutMs} ms`
    : socketCode(cause) || 'the connection failed';
  return new SessionbaseError(`sessionbase at ${settings.restUrl} does not answer (${why})`, {
    code: 'unreachable',
    status: 0,
    details: { mayHaveHappened },
    hint:
      mayHaveHappened && !repeatable
        ? 'The call may have been carried out, and is not safe to repeat: read before you try again'
        : 'Check that it runs (sessionbase status), and the address',
    cause,
  });
}
