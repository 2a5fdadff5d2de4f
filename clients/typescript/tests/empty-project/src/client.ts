import { guestSettings, SessionkeepError } from 'sessionkeep';
import { todosCollectionOptions } from 'sessionkeep/todos-collection';
import { loadGuestSettings, saveGuestSettings } from 'sessionkeep/guest-settings';

// For the tests in a browser, and so that the bundler keeps them.
Object.assign(globalThis, {
  guestSettings,
  SessionkeepError,
  loadGuestSettings,
  saveGuestSettings,
});
