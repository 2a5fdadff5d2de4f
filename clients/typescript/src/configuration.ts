import { SessionbaseError } from './errors.js';

/** How to reach sessionbase. Options that are left out are read from the environment. */
export interface Configuration {
  /** The URL of PostgREST. Environment: `SESSIONBASE_REST_URL`. */
  restUrl?: string;
  /** The secret that signs the tokens; on a server only. Environment: `SESSIONBASE_JWT_SECRET`. */
  jwtSecret?: string;
  /** Returns a token for a profile; used instead of `jwtSecret`. Called again before the token expires. */
  tokenProvider?: (profileId: string) => string | Promise<string>;
  /** The profile that the modules act for. Environment: `UI_SETTINGS_PROFILE_ID`; default: `default-profile`. */
  profileId?: string;
  /** The time limit of one attempt, in milliseconds; default: 10,000. */
  timeoutMs?: number;
  /** How many times a failed request is repeated at most; default: 5. */
  retries?: number;
}

/** A configuration with all defaults filled in. */
export type ResolvedConfiguration = Required<Omit<Configuration, 'jwtSecret' | 'tokenProvider'>> &
  Pick<Configuration, 'jwtSecret' | 'tokenProvider'>;

/** Fill in what is missing from the environment; throws `not_configured` if a required option is missing. */
export function resolveConfiguration(configuration: Configuration): ResolvedConfiguration {
  const environment = process.env;
  const restUrl = configuration.restUrl ?? environment['SESSIONBASE_REST_URL'];
  const { tokenProvider } = configuration;
  const jwtSecret = configuration.jwtSecret ?? environment['SESSIONBASE_JWT_SECRET'];
  if (!restUrl) throw notConfigured('SESSIONBASE_REST_URL', 'restUrl');
  if (!tokenProvider && !jwtSecret) {
    throw notConfigured('SESSIONBASE_JWT_SECRET', 'jwtSecret or tokenProvider');
  }
  const resolved: ResolvedConfiguration = {
    restUrl: restUrl.replace(/\/+$/, ''),
    // An empty environment variable counts as unset.
    profileId:
      configuration.profileId ?? (environment['UI_SETTINGS_PROFILE_ID'] || 'default-profile'),
    timeoutMs: configuration.timeoutMs ?? 10_000,
    retries: configuration.retries ?? 5,
  };
  if (tokenProvider) resolved.tokenProvider = tokenProvider;
  else if (jwtSecret) resolved.jwtSecret = jwtSecret;
  return resolved;
}

function notConfigured(variable: string, option: string): SessionbaseError {
  return new SessionbaseError(
    `sessionbase is not configured: set ${variable}, or call configure({${option}})`,
    { code: 'not_configured', status: 0 },
  );
}
