import type { Connection } from '../connection.js';
import { requireStorable } from '../storable.js';
import { binding, type SessionRepoBinding } from './bindings.js';
import {
  misalignmentRecord,
  type MisalignmentRecord,
  type MisalignmentStatus,
} from './misalignment.js';
import { type ChatToolEvent, type ChatToolEventStatus, toolEvent } from './toolEvents.js';

/** What the chat prompt needs to know of a session, in one snapshot. */
export interface SessionContext {
  sessionId: string;
  binding: SessionRepoBinding | null;
  /** Those not dismissed, oldest first. */
  misalignments: MisalignmentRecord[];
  unfinishedToolEvents: ChatToolEvent[];
  counts: {
    toolEvents: Record<ChatToolEventStatus, number>;
    misalignments: Record<MisalignmentStatus, number>;
    hookifyDecisions: Record<'blocked' | 'allowed', number>;
  };
}

export function context(connection: Connection) {
  /** Read all that the chat prompt needs of a session at once. */
  return async function sessionContext(sessionId: string): Promise<SessionContext> {
    requireStorable({ sessionId });
    const answer = await connection.call(
      'session_context',
      { session_id: sessionId },
      { get: true, repeatable: true },
    );
    return {
      sessionId: answer.session_id,
      binding: answer.binding && binding(answer.binding),
      misalignments: answer.misalignments.map(misalignmentRecord),
      unfinishedToolEvents: answer.unfinished_tool_events.map(toolEvent),
      counts: {
        toolEvents: answer.counts.tool_events,
        misalignments: answer.counts.misalignments,
        hookifyDecisions: answer.counts.hookify_decisions,
      },
    };
  };
}
