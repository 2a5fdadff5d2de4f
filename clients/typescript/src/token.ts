import { decodeJwt, SignJWT } from 'jose';
import type { ResolvedConfiguration } from './configuration.js';

const LIFETIME_SECONDS = 300;
/** A token is replaced this long before it expires, so that it does not expire during a request. */
const RENEWAL_MARGIN_SECONDS = 60;

/** Creates or fetches the token of one profile, and caches it until shortly before it expires. */
export class TokenSource {
  private cached: { token: Promise<string>; renewAt: number } | null = null;

  constructor(
    private readonly configuration: ResolvedConfiguration,
    private readonly profileId: string,
  ) {}

  /** Return a valid token. Concurrent callers share one. */
  async get(): Promise<string> {
    if (this.cached && Date.now() < this.cached.renewAt) return this.cached.token;
    const entry = { token: this.create(), renewAt: Infinity };
    this.cached = entry;
    try {
      const { exp } = decodeJwt(await entry.token);
      entry.renewAt = exp === undefined ? Infinity : (exp - RENEWAL_MARGIN_SECONDS) * 1000;
      return await entry.token;
    } catch (error) {
      if (this.cached === entry) this.cached = null;
      throw error;
    }
  }

  /** Drop the cached token, because the server rejected it. */
  invalidate(): void {
    this.cached = null;
  }

  private async create(): Promise<string> {
    const { jwtSecret, tokenProvider } = this.configuration;
    if (tokenProvider) return tokenProvider(this.profileId);
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ role: 'authenticated' })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(this.profileId)
      .setIssuedAt(now)
      .setExpirationTime(now + LIFETIME_SECONDS)
      .sign(new TextEncoder().encode(jwtSecret));
  }
}
