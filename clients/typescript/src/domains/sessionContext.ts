import { type Connection, sharedConnection } from '../connection.js';
import {
  type MisalignmentRecord,
  type MisalignmentRow,
  type MisalignmentStatus,
  toMisalignment,
} from './misalignments.js';
import {
  type SessionRepoBinding,
  type SessionRepoBindingRow,
  toSessionRepoBinding,
} from './sessionRepoBindings.js';
import {
  type ChatToolEvent,
  type ChatToolEventStatus,
  type ToolEventRow,
  toToolEvent,
} from './toolEvents.js';
import { assertStorable } from '../validation.js';

interface SessionContextRow {
  session_id: string;
  binding: SessionRepoBindingRow | null;
  misalignments: MisalignmentRow[];
  unfinished_tool_events: ToolEventRow[];
  counts: {
    tool_events: Record<'pending' | 'executing' | 'succeeded' | 'failed', number>;
    misalignments: Record<'open' | 'acknowledged' | 'dismissed', number>;
    hookify_decisions: Record<'blocked' | 'allowed', number>;
  };
}

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    session_context: SessionContextRow;
  }
}

/** What the chat prompt needs to know about a session, read in one snapshot. */
export interface SessionContext {
  sessionId: string;
  binding: SessionRepoBinding | null;
  /** The misalignments that are not dismissed, oldest first. */
  misalignments: MisalignmentRecord[];
  unfinishedToolEvents: ChatToolEvent[];
  counts: {
    toolEvents: Record<ChatToolEventStatus, number>;
    misalignments: Record<MisalignmentStatus, number>;
    hookifyDecisions: Record<'blocked' | 'allowed', number>;
  };
}

/** @internal */
export function bindSessionContext(connection: Connection) {
  /** Read what the chat prompt needs to know about a session, in one snapshot. */
  return async function sessionContext(sessionId: string): Promise<SessionContext> {
    assertStorable({ sessionId });
    const row = await connection.callReader('session_context', { session_id: sessionId });
    return {
      sessionId: row.session_id,
      binding: row.binding && toSessionRepoBinding(row.binding),
      misalignments: row.misalignments.map(toMisalignment),
      unfinishedToolEvents: row.unfinished_tool_events.map(toToolEvent),
      counts: {
        toolEvents: row.counts.tool_events,
        misalignments: row.counts.misalignments,
        hookifyDecisions: row.counts.hookify_decisions,
      },
    };
  };
}

/** Read what the chat prompt needs to know about a session, in one snapshot. */
export async function sessionContext(sessionId: string): Promise<SessionContext> {
  return bindSessionContext(sharedConnection())(sessionId);
}
