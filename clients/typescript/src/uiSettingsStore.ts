import { sharedConnection } from './connection.js';
import {
  type SaveOptions,
  type UiSettings,
  uiSettings,
  type UiSettingsWithRevision,
} from './domains/settings.js';

export type { SaveOptions, UiSettings, UiSettingsWithRevision } from './domains/settings.js';

/** The settings of a profile, or null. */
export async function loadUiSettings<Settings extends object = UiSettings>(
  profileId: string,
): Promise<Settings | null> {
  return uiSettings(sharedConnection()).loadUiSettings<Settings>(profileId);
}

/** The same with the revision. */
export async function loadUiSettingsWithRevision<Settings extends object = UiSettings>(
  profileId: string,
): Promise<UiSettingsWithRevision<Settings> | null> {
  return uiSettings(sharedConnection()).loadUiSettingsWithRevision<Settings>(profileId);
}

/** Replace the settings; with `expectedRevision` only over that revision, else `stale_revision`. */
export async function saveUiSettings<Settings extends object = UiSettings>(
  profileId: string,
  snapshot: Settings,
  options?: SaveOptions,
): Promise<Settings> {
  return uiSettings(sharedConnection()).saveUiSettings(profileId, snapshot, options);
}

/** Change parts of the settings (RFC 7396 merge patch); what others changed meanwhile stays. */
export async function patchUiSettings<Settings extends object = UiSettings>(
  profileId: string,
  patch: object,
  options?: SaveOptions,
): Promise<UiSettingsWithRevision<Settings>> {
  return uiSettings(sharedConnection()).patchUiSettings<Settings>(profileId, patch, options);
}
