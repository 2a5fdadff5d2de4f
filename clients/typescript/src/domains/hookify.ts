import { randomUUID } from 'node:crypto';
import { type Connection, WRITTEN } from '../connection.js';
import { SessionbaseError } from '../errors.js';
import { type HookifyDecisionRow, isoTime, present } from '../rows.js';
import { requireStorable } from '../storable.js';
import { type WithTxid, withTxid } from '../withTxid.js';

export type HookifySource = 'timeline' | 'session' | 'manual';
export type HookifySeverity = 'none' | 'info' | 'low' | 'medium' | 'high' | 'critical';

/** A rule that matched; of one with more keys only these are kept. */
export interface HookifyRule {
  id: string;
  severity: HookifySeverity;
}

/** What hookify decided about a piece of content. */
export interface HookifyDecision {
  id: string;
  sessionId: string;
  source: HookifySource;
  /** SHA-256 (hex) of the content as UTF-8; the content itself is not kept. */
  contentHash: string;
  severity: HookifySeverity;
  blocked: boolean;
  rules: HookifyRule[];
  message?: string;
  annotations?: string;
  createdAt: string;
}

/** What a decision is recorded with. */
export interface HookifyDecisionInput {
  sessionId: string;
  source: HookifySource;
  severity: HookifySeverity;
  blocked: boolean;
  rules: HookifyRule[];
  message?: string;
  annotations?: string;
  content: string;
}

export function hookify(connection: Connection) {
  async function record(
    input: HookifyDecisionInput,
  ): Promise<WithTxid<HookifyDecision, number | null>> {
    requireStorable(input);
    const row = await connection.call(
      'record_hookify_decision',
      {
        id: `hook_${randomUUID()}`,
        session_id: input.sessionId ?? null,
        source: input.source ?? null,
        severity: input.severity ?? null,
        blocked: input.blocked ?? null,
        rules: input.rules ?? null,
        message: input.message ?? null,
        annotations: input.annotations ?? null,
        content: input.content ?? null,
      },
      { select: WRITTEN, repeatable: true },
    );
    return withTxid(row, decision);
  }

  return {
    /** Add a decision to the audit. */
    async recordHookifyDecision(input: HookifyDecisionInput): Promise<HookifyDecision> {
      return (await record(input)).record;
    },

    /**
     * The write again, with the transaction's id; null where a lost attempt had stored it. No stream
     * brings decisions: they are not published.
     */
    withTxid: { recordHookifyDecision: record },

    /** The decisions of a session, in the order made. */
    async listHookifyDecisions(sessionId: string): Promise<HookifyDecision[]> {
      requireStorable({ sessionId });
      const rows = await connection.list<HookifyDecisionRow, 'position'>(
        ['position'],
        (client, page) => {
          const query = client.from('hookify_decisions').select().eq('session_id', sessionId);
          return (page.after ? query.or(page.after) : query).order('position').limit(page.size);
        },
      );
      return rows.map(decision);
    },

    clearHookifyDecisions,
  };
}

/** Always throws: an audit is never cleared. In tests, use a session or profile of their own. */
export async function clearHookifyDecisions(): Promise<never> {
  throw new SessionbaseError('Hookify decisions are an audit and cannot be cleared', {
    code: 'append_only',
    status: 0,
    hint: 'Give each test a session or a profile of its own',
  });
}

function decision(row: HookifyDecisionRow): HookifyDecision {
  return {
    id: row.id,
    sessionId: row.session_id,
    source: row.source as HookifySource,
    contentHash: row.content_hash,
    severity: row.severity as HookifySeverity,
    blocked: row.blocked,
    rules: row.rules as HookifyRule[],
    createdAt: isoTime(row.created_at),
    ...present({ message: row.message, annotations: row.annotations }),
  };
}
