import { connectionFor } from './connection.js';
import { bindings } from './domains/bindings.js';
import { context } from './domains/context.js';
import { hookify } from './domains/hookify.js';
import { misalignment } from './domains/misalignment.js';
import { uiSettings } from './domains/settings.js';
import { todos } from './domains/todos.js';
import { toolEvents } from './domains/toolEvents.js';
import type { Configuration } from './settings.js';

/** The modules of one profile. */
export type ProfileModules = ReturnType<typeof forProfile>;

/**
 * The same modules for one signed-in user, on a connection of their own: two profiles share nothing.
 * A call that names another profile is refused with `wrong_profile`.
 */
export function forProfile(profileId: string, configuration?: Configuration) {
  const connection = connectionFor(profileId, configuration);
  const repository = toolEvents(connection);
  return {
    /** The module's functions, and the repository's own. */
    chatToolEvents: {
      ...repository,
      getChatToolEventRepository: () => repository,
      listChatToolEvents: repository.listBySession,
      insertChatToolEvent: repository.insert,
      updateChatToolEventStatus: repository.updateStatus,
    },
    hookifyDecisions: hookify(connection),
    misalignments: misalignment(connection),
    todosStore: todos(connection),
    sessionRepoBindings: bindings(connection),
    uiSettingsStore: uiSettings(connection),
    sessionContext: context(connection),
  };
}
