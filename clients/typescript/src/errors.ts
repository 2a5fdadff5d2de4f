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

  constructor(
    message: string,
    options: {
      code: string;
      status: number;
      details?: unknown;
      hint?: string | null;
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.status = options.status;
    this.details = options.details ?? null;
    this.hint = options.hint ?? null;
  }
}

/** Convert the body of an error response into a SessionbaseError. */
export function errorFromResponse(
  body: { message: string; code?: string | null; details?: unknown; hint?: string | null },
  status: number,
): SessionbaseError {
  if (!body.code) {
    // Not a response of PostgREST: for example an HTML page of a proxy.
    return new SessionbaseError(`sessionbase answered with status ${status}`, {
      code: `http_${status}`,
      status,
      details: body.message,
    });
  }
  return new SessionbaseError(body.message, {
    code: body.code,
    status,
    details: parseDetails(body.details),
    hint: body.hint || null,
  });
}

function parseDetails(details: unknown): unknown {
  if (typeof details !== 'string' || details === '') return null;
  try {
    return JSON.parse(details);
  } catch {
    return details;
  }
}
