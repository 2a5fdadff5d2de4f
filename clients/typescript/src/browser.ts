// What a browser gets for `sessionbase`: no module that holds a secret or makes a token.
export { SessionbaseError } from './errors.js';
export * as guestSettings from './guestSettings.js';
