// For browsers: the settings of a guest, which the server does not store.

/** Whether the settings were saved; `quota`: the storage is full; `unavailable`: there is no storage. */
export type GuestSaveResult = { saved: true } | { saved: false; reason: 'quota' | 'unavailable' };

const KEY = 'sessionbase-guest-settings';

/**
 * Save the settings of a guest in localStorage, under `key`. `saved` is true only if they could be read
 * back. If it is false, tell the user; the settings that were saved before are kept.
 */
export function saveGuestSettings(snapshot: object, key: string = KEY): GuestSaveResult {
  const text = JSON.stringify(snapshot);
  try {
    const storage = globalThis.localStorage;
    if (!storage) return { saved: false, reason: 'unavailable' };
    storage.setItem(key, text);
    if (storage.getItem(key) === text) return { saved: true };
  } catch (error) {
    if (isQuotaError(error)) return { saved: false, reason: 'quota' };
  }
  return { saved: false, reason: 'unavailable' };
}

/** Return the settings of a guest; null if there are none, if they are damaged, or if there is no storage. */
export function loadGuestSettings<Settings extends object = Record<string, unknown>>(
  key: string = KEY,
): Settings | null {
  try {
    const text = globalThis.localStorage?.getItem(key);
    const value: unknown = text ? JSON.parse(text) : null;
    return typeof value === 'object' ? (value as Settings | null) : null;
  } catch {
    return null;
  }
}

function isQuotaError(error: unknown): boolean {
  const names = ['QuotaExceededError', 'NS_ERROR_DOM_QUOTA_REACHED'];
  return error instanceof Error && names.includes(error.name);
}
