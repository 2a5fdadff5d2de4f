// What `sessionbase` exports in a browser: no module that uses a secret or creates tokens.
export { type Outcome, SessionbaseError } from './errors.js';
export * as guestSettings from './guestSettings.js';
