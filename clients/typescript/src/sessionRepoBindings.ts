import { sharedConnection } from './connection.js';
import { bindings, type SessionRepoBinding } from './domains/bindings.js';

export type { SessionRepoBinding } from './domains/bindings.js';

/** Bind a session to a repository, instead of the one that it had. */
export async function setSessionRepoBinding(
  input: Omit<SessionRepoBinding, 'updatedAt'>,
): Promise<SessionRepoBinding> {
  return bindings(sharedConnection()).setSessionRepoBinding(input);
}

/** The binding of a session, or null. */
export async function getSessionRepoBinding(sessionId: string): Promise<SessionRepoBinding | null> {
  return bindings(sharedConnection()).getSessionRepoBinding(sessionId);
}

/** Remove the binding of a session; quiet where there is none. */
export async function clearSessionRepoBinding(sessionId: string): Promise<void> {
  return bindings(sharedConnection()).clearSessionRepoBinding(sessionId);
}

/** All bindings, the longest untouched first. */
export async function listSessionRepoBindings(): Promise<SessionRepoBinding[]> {
  return bindings(sharedConnection()).listSessionRepoBindings();
}
