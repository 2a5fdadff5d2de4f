// What a browser gets for `sessionkeep`: no module that holds a secret or makes a token.
export { SessionkeepError } from './errors.js';
export * as guestSettings from './guestSettings.js';
