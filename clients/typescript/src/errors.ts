/** What a call of this package fails with. */
export class SessionbaseError extends Error {
  override readonly name = 'SessionbaseError';
  /**
   * A stable word: the server's (`not_found`, `illegal_transition`, `stale_revision`, …: see
   * docs/errors.md), PostgREST's or PostgreSQL's own code, or one of this package:
   * `not_configured`, `not_storable`, `wrong_profile`, `unreachable`.
   */
  readonly code: string;
  /** The HTTP status; 0 where no answer came. */
  readonly status: number;
  /** What a program can read, for example `{from: 'open', to: 'open'}`; null without. */
  readonly details: unknown;
  /** What to do about it, for a person; null without. */
  readonly hint: string | null;

  constructor(
    message: string,
    facts: {
      code: string;
      status: number;
      details?: unknown;
      hint?: string | null;
      cause?: unknown;
    },
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.status = facts.status;
    this.details = facts.details ?? null;
    this.hint = facts.hint ?? null;
  }
}

/** Make an error of the body that PostgREST answered with. */
export function fromAnswer(
  body: { message: string; code?: string | null; details?: unknown; hint?: string | null },
  status: number,
): SessionbaseError {
  if (!body.code) {
    // Not PostgREST's: a proxy's page, for example.
    return new SessionbaseError(`sessionbase answered with status ${status}`, {
      code: `http_${status}`,
      status,
      details: body.message,
    });
  }
  return new SessionbaseError(body.message, {
    code: body.code,
    status,
    details: parsed(body.details),
    hint: body.hint || null,
  });
}

function parsed(details: unknown): unknown {
  if (typeof details !== 'string' || details === '') return null;
  try {
    return JSON.parse(details);
  } catch {
    return details;
  }
}
