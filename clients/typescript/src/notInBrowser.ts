// package.json maps the server's modules to this file in a browser.
throw new Error(
  'This module of sessionbase runs on a server only: it uses the secret that signs the tokens. ' +
    'In a browser, call a server function of the app, or import sessionbase/guestSettings',
);
