import { SessionbaseError } from './errors.js';

/** How to reach sessionbase. What is left out comes from the environment. */
export interface Configuration {
  /** PostgREST's address. Environment: `SESSIONBASE_REST_URL`. */
  restUrl?: string;
  /** The secret that tokens are signed with; for a server only. Environment: `SESSIONBASE_JWT_SECRET`. */
  jwtSecret?: string;
  /** Gives a token for a profile, instead of the secret. Asked again before the token expires. */
  tokenProvider?: (profileId: string) => string | Promise<string>;
  /** Whom the modules act for. Environment: `UI_SETTINGS_PROFILE_ID`; else `default-profile`. */
  profileId?: string;
  /** How long one attempt may take, in milliseconds; 10,000. */
  timeoutMs?: number;
  /** How often a call that is safe to repeat is repeated, at most; 5. */
  retries?: number;
}

/** A configuration with nothing left out. */
export type Settings = Required<Omit<Configuration, 'jwtSecret' | 'tokenProvider'>> &
  Pick<Configuration, 'jwtSecret' | 'tokenProvider'>;

/** Complete `configuration` from the environment; `not_configured` where something is missing. */
export function complete(configuration: Configuration): Settings {
  const environment = process.env;
  const restUrl = configuration.restUrl ?? environment['SESSIONBASE_REST_URL'];
  const { tokenProvider } = configuration;
  const jwtSecret = configuration.jwtSecret ?? environment['SESSIONBASE_JWT_SECRET'];
  if (!restUrl) throw missing('SESSIONBASE_REST_URL', 'restUrl');
  if (!tokenProvider && !jwtSecret) {
    throw missing('SESSIONBASE_JWT_SECRET', 'jwtSecret or tokenProvider');
  }
  const settings: Settings = {
    restUrl: restUrl.replace(/\/+$/, ''),
    profileId:
      configuration.profileId ?? (environment['UI_SETTINGS_PROFILE_ID'] || 'default-profile'),
    timeoutMs: configuration.timeoutMs ?? 10_000,
    retries: configuration.retries ?? 5,
  };
  if (tokenProvider) settings.tokenProvider = tokenProvider;
  else if (jwtSecret) settings.jwtSecret = jwtSecret;
  return settings;
}

function missing(variable: string, option: string): SessionbaseError {
  return new SessionbaseError(
    `sessionbase is not configured: set ${variable}, or call configure({${option}})`,
    { code: 'not_configured', status: 0 },
  );
}
