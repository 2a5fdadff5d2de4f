import { sharedConnection } from './connection.js';
import { hookify, type HookifyDecision, type HookifyDecisionInput } from './domains/hookify.js';
import { SessionkeepError } from './errors.js';

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

/** Always throws: an audit is never cleared. In tests, use a session or profile of their own. */
export async function clearHookifyDecisions(): Promise<never> {
  throw new SessionkeepError('Hookify decisions are an audit and cannot be cleared', {
    code: 'append_only',
    status: 0,
    hint: 'Give each test a session or a profile of its own',
  });
}
