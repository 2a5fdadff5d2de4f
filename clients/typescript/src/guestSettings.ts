// For the browser: the settings of a guest, which the server does not keep.

/** Whether the settings are saved; if not, why: the quota is full, or there is no storage. */
export type GuestSaveOutcome = { saved: true } | { saved: false; reason: 'quota' | 'unavailable' };

const KEY = 'sessionbase-guest-settings';

/**
 * Save a guest's settings on the device. `saved` is true only if they could be read back; tell the
 * user otherwise. What was saved before then stays. `key` names the localStorage item.
 */
export function saveGuestSettings(snapshot: object, key: string = KEY): GuestSaveOutcome {
  const text = JSON.stringify(snapshot);
  try {
    const storage = globalThis.localStorage;
    if (!storage) return { saved: false, reason: 'unavailable' };
    storage.setItem(key, text);
    if (storage.getItem(key) === text) return { saved: true };
  } catch (error) {
    if (isQuota(error)) return { saved: false, reason: 'quota' };
  }
  return { saved: false, reason: 'unavailable' };
}

/** The settings that a guest saved on this device; null where there are none, or no storage. */
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

function isQuota(error: unknown): boolean {
  const names = ['QuotaExceededError', 'NS_ERROR_DOM_QUOTA_REACHED'];
  return error instanceof Error && names.includes(error.name);
}
