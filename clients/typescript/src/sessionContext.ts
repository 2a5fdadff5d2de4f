import { sharedConnection } from './connection.js';
import { context, type SessionContext } from './domains/context.js';

export type { SessionContext } from './domains/context.js';

/** All that the chat prompt needs to know of a session, in one snapshot. */
export async function sessionContext(sessionId: string): Promise<SessionContext> {
  return context(sharedConnection())(sessionId);
}
