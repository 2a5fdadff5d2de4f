import { randomUUID } from 'node:crypto';
import { type Connection, sharedConnection } from '../connection.js';
import { SessionbaseError } from '../errors.js';
import { omitNullish, type Row, type RowWithOptionalTxid, toIsoTime } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

type HookifyDecisionRow = Row<'hookify_decisions', 'message' | 'annotations'>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    record_hookify_decision: RowWithOptionalTxid<HookifyDecisionRow>;
  }
}

export type HookifySource = 'timeline' | 'session' | 'manual';
export type HookifySeverity = 'none' | 'info' | 'low' | 'medium' | 'high' | 'critical';

/** A rule that matched. Other keys of a rule are not stored. */
export interface HookifyRule {
  id: string;
  severity: HookifySeverity;
}

/** What hookify decided about a piece of content. */
export interface HookifyDecision {
  id: string;
  sessionId: string;
  source: HookifySource;
  /** SHA-256 (hex) of the content as UTF-8. The content itself is not stored. */
  contentHash: string;
  severity: HookifySeverity;
  blocked: boolean;
  rules: HookifyRule[];
  message?: string;
  annotations?: string;
  createdAt: string;
}

/** A new decision. */
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

/** @internal */
export function bindHookifyDecisions(connection: Connection) {
  async function record(
    input: HookifyDecisionInput,
  ): Promise<WithTxid<HookifyDecision, number | null>> {
    assertStorable(input);
    const row = await connection.call('record_hookify_decision', {
      id: `hook_${randomUUID()}`,
      session_id: input.sessionId ?? null,
      source: input.source ?? null,
      severity: input.severity ?? null,
      blocked: input.blocked ?? null,
      rules: input.rules ?? null,
      message: input.message ?? null,
      annotations: input.annotations ?? null,
      content: input.content ?? null,
    });
    return toWithTxid(row, toHookifyDecision);
  }

  return {
    /** Add a decision to the audit log. */
    async recordHookifyDecision(input: HookifyDecisionInput): Promise<HookifyDecision> {
      return (await record(input)).record;
    },

    /**
     * The same write, with the transaction id. `txid` is null if an attempt whose response was lost had
     * stored the decision. Decisions are not published, so no replication stream contains them.
     */
    withTxid: { recordHookifyDecision: record },

    /** List the decisions of a session in the order in which they were recorded. */
    async listHookifyDecisions(sessionId: string): Promise<HookifyDecision[]> {
      assertStorable({ sessionId });
      const rows = await connection.list<HookifyDecisionRow>('hookify_decisions', ['position'], {
        session_id: sessionId,
      });
      return rows.map(toHookifyDecision);
    },

    clearHookifyDecisions,
  };
}

function toHookifyDecision(row: HookifyDecisionRow): HookifyDecision {
  return {
    id: row.id,
    sessionId: row.session_id,
    source: row.source as HookifySource,
    contentHash: row.content_hash,
    severity: row.severity as HookifySeverity,
    blocked: row.blocked,
    rules: row.rules as HookifyRule[],
    createdAt: toIsoTime(row.created_at),
    ...omitNullish({ message: row.message, annotations: row.annotations }),
  };
}

/** Add a decision to the audit log. */
export async function recordHookifyDecision(input: HookifyDecisionInput): Promise<HookifyDecision> {
  return bindHookifyDecisions(sharedConnection()).recordHookifyDecision(input);
}

/** List the decisions of a session in the order in which they were recorded. */
export async function listHookifyDecisions(sessionId: string): Promise<HookifyDecision[]> {
  return bindHookifyDecisions(sharedConnection()).listHookifyDecisions(sessionId);
}

/** Always throws `append_only`: the audit log cannot be cleared. */
export function clearHookifyDecisions(): Promise<never> {
  return Promise.reject(
    new SessionbaseError('Hookify decisions are an audit and cannot be cleared', {
      code: 'append_only',
      status: 0,
      hint: 'In tests, use a separate session or profile for each test',
    }),
  );
}
