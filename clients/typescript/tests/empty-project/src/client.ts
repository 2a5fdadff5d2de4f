import { guestSettings, SessionbaseError } from 'sessionbase';
import { todosCollectionOptions } from 'sessionbase/todos-collection';
import { loadGuestSettings, saveGuestSettings } from 'sessionbase/guest-settings';

// For the tests in a browser, and so that the bundler keeps them.
Object.assign(globalThis, {
  guestSettings,
  SessionbaseError,
  loadGuestSettings,
  saveGuestSettings,
});
