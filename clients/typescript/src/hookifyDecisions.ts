import { sharedConnection } from './connection.js';
import { hookify, type HookifyDecision, type HookifyDecisionInput } from './domains/hookify.js';

export { clearHookifyDecisions } from './domains/hookify.js';
export type {
  HookifyDecision,
  HookifyDecisionInput,
  HookifyRule,
  HookifySeverity,
  HookifySource,
} from './domains/hookify.js';

/** Add a decision to the audit. */
export async function recordHookifyDecision(input: HookifyDecisionInput): Promise<HookifyDecision> {
  return hookify(sharedConnection()).recordHookifyDecision(input);
}

/** The decisions of a session, in the order made. */
export async function listHookifyDecisions(sessionId: string): Promise<HookifyDecision[]> {
  return hookify(sharedConnection()).listHookifyDecisions(sessionId);
}
