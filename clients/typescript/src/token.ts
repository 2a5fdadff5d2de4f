import { decodeJwt, SignJWT } from 'jose';
import type { Settings } from './settings.js';

const LIFETIME_SECONDS = 300;
/** Renewed this long before it expires, so that none expires on its way. */
const MARGIN_SECONDS = 60;

/** One profile's token: made or asked for when needed, kept until shortly before it expires. */
export class TokenSource {
  private current: { token: Promise<string>; renewAt: number } | null = null;

  constructor(
    private readonly settings: Settings,
    private readonly profileId: string,
  ) {}

  /** Give a token that is valid for a while. Callers at the same time share one. */
  async get(): Promise<string> {
    if (this.current && Date.now() < this.current.renewAt) return this.current.token;
    const fresh = { token: this.make(), renewAt: Infinity };
    this.current = fresh;
    try {
      const { exp } = decodeJwt(await fresh.token);
      fresh.renewAt = exp === undefined ? Infinity : (exp - MARGIN_SECONDS) * 1000;
      return await fresh.token;
    } catch (error) {
      if (this.current === fresh) this.current = null;
      throw error;
    }
  }

  /** Forget the token, because the server refused it. */
  forget(): void {
    this.current = null;
  }

  private async make(): Promise<string> {
    const { jwtSecret, tokenProvider } = this.settings;
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
