import type { Configuration } from './configuration.js';
import { connectionFor } from './connection.js';
import { bindHookifyDecisions } from './domains/hookifyDecisions.js';
import { bindMisalignments } from './domains/misalignments.js';
import { bindSessionContext } from './domains/sessionContext.js';
import { bindSessionRepoBindings } from './domains/sessionRepoBindings.js';
import { bindTodos } from './domains/todos.js';
import { bindToolEvents } from './domains/toolEvents.js';
import { bindUiSettings } from './domains/uiSettings.js';

export type { Configuration } from './configuration.js';
export { configure } from './connection.js';
export { type Outcome, SessionbaseError } from './errors.js';
export * as guestSettings from './guestSettings.js';
export type { WithTxid } from './withTxid.js';

// Each file of src/domains is exported here, and its functions for one profile are in forProfile.
export * as hookifyDecisions from './domains/hookifyDecisions.js';
export * as misalignments from './domains/misalignments.js';
export { sessionContext } from './domains/sessionContext.js';
export type { SessionContext } from './domains/sessionContext.js';
export * as sessionRepoBindings from './domains/sessionRepoBindings.js';
export * as todos from './domains/todos.js';
export * as toolEvents from './domains/toolEvents.js';
export * as uiSettings from './domains/uiSettings.js';

/** The modules of one profile. */
export type ProfileModules = ReturnType<typeof forProfile>;

/**
 * Create the modules for one profile, for example of a signed-in user, with a connection and a token of
 * their own. A call with another profile id throws `wrong_profile`.
 */
export function forProfile(profileId: string, configuration?: Configuration) {
  const connection = connectionFor(profileId, configuration);
  const repository = bindToolEvents(connection);
  return {
    hookifyDecisions: bindHookifyDecisions(connection),
    misalignments: bindMisalignments(connection),
    sessionContext: bindSessionContext(connection),
    sessionRepoBindings: bindSessionRepoBindings(connection),
    todos: bindTodos(connection),
    /** The functions of the module, and the methods of the repository. */
    toolEvents: {
      ...repository,
      getChatToolEventRepository: () => repository,
      listChatToolEvents: repository.listBySession,
      insertChatToolEvent: repository.insert,
      updateChatToolEventStatus: repository.updateStatus,
    },
    uiSettings: bindUiSettings(connection),
  };
}
