import { type Connection, sharedConnection } from '../connection.js';
import { type Row, type RowWithTxid, toIsoTime } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

type UiSettingsRow = Row<'ui_settings'>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    save_ui_settings: RowWithTxid<UiSettingsRow>;
    patch_ui_settings: RowWithTxid<UiSettingsRow>;
  }
}

/** The settings document. An app passes its own type as `Settings`. */
export type UiSettings = Record<string, unknown>;

/** The settings with their revision, which a write can check with `expectedRevision`. */
export interface UiSettingsWithRevision<Settings extends object = UiSettings> {
  settings: Settings;
  revision: number;
  updatedAt: string;
}

export interface SaveOptions {
  /**
   * Write only if this is the stored revision (0: only if nothing is stored). Otherwise the call throws
   * `stale_revision`, with the stored `revision` and `settings` in `details`.
   */
  expectedRevision?: number;
}

/** @internal */
export function bindUiSettings(connection: Connection) {
  async function load<Settings extends object>(
    profileId: string,
  ): Promise<UiSettingsWithRevision<Settings> | null> {
    const [row] = await connection
      .withProfile(profileId)
      .read<UiSettingsRow[]>((client) => client.from('ui_settings').select());
    return row ? toUiSettings<Settings>(row) : null;
  }

  async function save<Settings extends object = UiSettings>(
    profileId: string,
    snapshot: Settings,
    { expectedRevision }: SaveOptions = {},
  ): Promise<WithTxid<Settings>> {
    assertStorable({ settings: snapshot });
    const row = await connection.withProfile(profileId).call('save_ui_settings', {
      settings: snapshot,
      expected_revision: expectedRevision ?? null,
    });
    return toWithTxid(row, ({ settings }) => settings as Settings);
  }

  async function patch<Settings extends object = UiSettings>(
    profileId: string,
    changes: object,
    { expectedRevision }: SaveOptions = {},
  ): Promise<WithTxid<UiSettingsWithRevision<Settings>>> {
    assertStorable({ patch: changes });
    const row = await connection.withProfile(profileId).call('patch_ui_settings', {
      patch: changes,
      expected_revision: expectedRevision ?? null,
    });
    return toWithTxid(row, toUiSettings<Settings>);
  }

  return {
    /** Return the settings of a profile, or null. */
    async loadUiSettings<Settings extends object = UiSettings>(
      profileId: string,
    ): Promise<Settings | null> {
      return (await load<Settings>(profileId))?.settings ?? null;
    },

    /** Return the settings of a profile with their revision, or null. */
    loadUiSettingsWithRevision<Settings extends object = UiSettings>(
      profileId: string,
    ): Promise<UiSettingsWithRevision<Settings> | null> {
      return load<Settings>(profileId);
    },

    /** Replace the settings of a profile. */
    async saveUiSettings<Settings extends object = UiSettings>(
      profileId: string,
      snapshot: Settings,
      options?: SaveOptions,
    ): Promise<Settings> {
      return (await save(profileId, snapshot, options)).record;
    },

    /**
     * Change parts of the settings with a JSON merge patch (RFC 7396): null removes a key, an array
     * replaces the stored array. Other keys are kept.
     */
    async patchUiSettings<Settings extends object = UiSettings>(
      profileId: string,
      changes: object,
      options?: SaveOptions,
    ): Promise<UiSettingsWithRevision<Settings>> {
      return (await patch<Settings>(profileId, changes, options)).record;
    },

    /** The same writes, with the transaction id, for a collection that waits for its replication stream. */
    withTxid: { saveUiSettings: save, patchUiSettings: patch },
  };
}

function toUiSettings<Settings extends object>(
  row: UiSettingsRow,
): UiSettingsWithRevision<Settings> {
  return {
    settings: row.settings as Settings,
    revision: row.revision,
    updatedAt: toIsoTime(row.updated_at),
  };
}

/** Return the settings of a profile, or null. */
export async function loadUiSettings<Settings extends object = UiSettings>(
  profileId: string,
): Promise<Settings | null> {
  return bindUiSettings(sharedConnection()).loadUiSettings<Settings>(profileId);
}

/** Return the settings of a profile with their revision, or null. */
export async function loadUiSettingsWithRevision<Settings extends object = UiSettings>(
  profileId: string,
): Promise<UiSettingsWithRevision<Settings> | null> {
  return bindUiSettings(sharedConnection()).loadUiSettingsWithRevision<Settings>(profileId);
}

/** Replace the settings of a profile. */
export async function saveUiSettings<Settings extends object = UiSettings>(
  profileId: string,
  snapshot: Settings,
  options?: SaveOptions,
): Promise<Settings> {
  return bindUiSettings(sharedConnection()).saveUiSettings(profileId, snapshot, options);
}

/** Change parts of the settings with a JSON merge patch (RFC 7396). Other keys are kept. */
export async function patchUiSettings<Settings extends object = UiSettings>(
  profileId: string,
  patch: object,
  options?: SaveOptions,
): Promise<UiSettingsWithRevision<Settings>> {
  return bindUiSettings(sharedConnection()).patchUiSettings<Settings>(profileId, patch, options);
}
