import type { Configuration } from './configuration.js';
import { connectionFor } from './connection.js';
import { bindHookifyDecisions } from './hookifyDecisions.js';
import { bindMisalignments } from './misalignments.js';
import { bindSessionContext } from './sessionContext.js';
import { bindSessionRepoBindings } from './sessionRepoBindings.js';
import { bindTodos } from './todos.js';
import { bindToolEvents } from './toolEvents.js';
import { bindUiSettings } from './uiSettings.js';

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
    /** The functions of the module, and the methods of the repository. */
    toolEvents: {
      ...repository,
      getChatToolEventRepository: () => repository,
      listChatToolEvents: repository.listBySession,
      insertChatToolEvent: repository.insert,
      updateChatToolEventStatus: repository.updateStatus,
    },
    hookifyDecisions: bindHookifyDecisions(connection),
    misalignments: bindMisalignments(connection),
    todos: bindTodos(connection),
    sessionRepoBindings: bindSessionRepoBindings(connection),
    uiSettings: bindUiSettings(connection),
    sessionContext: bindSessionContext(connection),
  };
}
