/**
 * What is known about the write of a failed call. `not stored`: the call changed nothing. `stored`: it
 * did its work, but its result is not known. `unknown`: it may have been executed, completely or partly.
 */
export type Outcome = 'stored' | 'not stored' | 'unknown';

/** The error that every function of this package throws. */
export class SessionbaseError extends Error {
  override readonly name = 'SessionbaseError';
  /**
   * A stable code. From the server: `not_found`, `illegal_transition`, `stale_revision`, … (see
   * docs/errors.md), or a code of PostgREST or PostgreSQL. From this package: `not_configured`,
   * `not_storable`, `invalid_argument`, `wrong_profile`, `append_only`, `unreachable`, `http_<status>`.
   */
  readonly code: string;
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  /** Details for a program, for example `{from: 'open', to: 'open'}`; null if there are none. */
  readonly details: unknown;
  /** What a person can do about it; null if there is no hint. */
  readonly hint: string | null;
  /** What is known about the write; of a failed read `not stored`. */
  readonly outcome: Outcome;

  constructor(
    message: string,
    options: {
      code: string;
      status: number;
      details?: unknown;
      hint?: string | null;
      /** Default: `not stored`. */
      outcome?: Outcome;
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.status = options.status;
    this.details = options.details ?? null;
    this.hint = options.hint ?? null;
    this.outcome = options.outcome ?? 'not stored';
  }
}

/** The hint of an error whose outcome is `unknown`. */
export function hintForUnknown(repeatable: boolean): string {
  return repeatable
    ? 'The server may have executed the call. It is safe to repeat it'
    : 'The server may have executed the call, and repeating it is not safe: read the data before you try again';
}

/** Convert the body of an error response into a SessionbaseError. */
export function errorFromResponse(
  body: { message: string; code?: string | null; details?: unknown; hint?: string | null },
  status: number,
  outcome: Outcome,
  repeatable: boolean,
): SessionbaseError {
  const hint = body.hint || (outcome === 'unknown' ? hintForUnknown(repeatable) : null);
  if (body.code === '') {
    // PostgREST has lost its connection to PostgreSQL during the call.
    return new SessionbaseError('The connection to the database was lost during the call', {
      code: 'unreachable',
      status,
      hint,
      outcome,
    });
  }
  if (!body.code) {
    // Not a response of PostgREST: for example an HTML page of a proxy.
    return new SessionbaseError(`sessionbase answered with status ${status}`, {
      code: `http_${status}`,
      status,
      details: body.message,
      hint,
      outcome,
    });
  }
  return new SessionbaseError(body.message, {
    code: body.code,
    status,
    details: parseDetails(body.details),
    hint,
    outcome,
  });
}

/** Return the error of a later request of a call whose earlier request was executed. */
export function afterEarlierRequest(error: unknown): unknown {
  if (!(error instanceof SessionbaseError)) return error;
  return new SessionbaseError(error.message, { ...error, outcome: 'unknown', cause: error });
}

function parseDetails(details: unknown): unknown {
  if (typeof details !== 'string' || details === '') return null;
  try {
    return JSON.parse(details);
  } catch {
    return details;
  }
}
