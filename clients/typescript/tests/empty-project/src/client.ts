import { guestSettings, SessionbaseError } from 'sessionbase';
import { todosCollectionOptions } from 'sessionbase/todosCollection';
import { loadGuestSettings, saveGuestSettings } from 'sessionbase/guestSettings';

// The tests in a browser call them; using them here also keeps them in the bundle.
Object.assign(globalThis, {
  guestSettings,
  SessionbaseError,
  loadGuestSettings,
  saveGuestSettings,
});
