throw new Error(
  'This module of sessionbase is for the server: it holds the secret that tokens are signed with. ' +
    'In the browser call a server function of the app, or import sessionbase/guest-settings',
);
