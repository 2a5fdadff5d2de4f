import { type Connection, WRITTEN } from '../connection.js';
import { isoTime, only, type UiSettingsRow } from '../rows.js';
import { requireStorable } from '../storable.js';
import { type WithTxid, withTxid } from '../withTxid.js';

/** The document as the app writes it; the app's own type is given as `Settings`. */
export type UiSettings = Record<string, unknown>;

/** Settings with the revision that a save can insist on. */
export interface UiSettingsWithRevision<Settings extends object = UiSettings> {
  settings: Settings;
  revision: number;
  updatedAt: string;
}

/** A condition of a write. */
export interface SaveOptions {
  /** Write only over this revision; 0: only if nothing is stored. Else `stale_revision`. */
  expectedRevision?: number;
}

export function uiSettings(connection: Connection) {
  async function load<Settings extends object>(
    profileId: string,
  ): Promise<UiSettingsWithRevision<Settings> | null> {
    const rows = await connection
      .as(profileId)
      .send<UiSettingsRow[]>((client) => client.from('ui_settings').select(), { repeatable: true });
    const row = only(rows);
    return row ? withRevision<Settings>(row) : null;
  }

  async function save<Settings extends object = UiSettings>(
    profileId: string,
    snapshot: Settings,
    { expectedRevision }: SaveOptions = {},
  ): Promise<WithTxid<Settings>> {
    requireStorable({ settings: snapshot });
    const row = await connection.as(profileId).call(
      'save_ui_settings',
      { settings: snapshot, expected_revision: expectedRevision ?? null },
      // With a revision a repetition would be told that it is stale, by its own first attempt.
      { select: WRITTEN, repeatable: expectedRevision === undefined },
    );
    return withTxid(row, ({ settings }) => settings as Settings);
  }

  async function patch<Settings extends object = UiSettings>(
    profileId: string,
    changes: object,
    { expectedRevision }: SaveOptions = {},
  ): Promise<WithTxid<UiSettingsWithRevision<Settings>>> {
    requireStorable({ patch: changes });
    const row = await connection
      .as(profileId)
      .call(
        'patch_ui_settings',
        { patch: changes, expected_revision: expectedRevision ?? null },
        { select: WRITTEN, repeatable: expectedRevision === undefined },
      );
    return withTxid(row, withRevision<Settings>);
  }

  return {
    /** The settings of a profile, or null. */
    async loadUiSettings<Settings extends object = UiSettings>(
      profileId: string,
    ): Promise<Settings | null> {
      return (await load<Settings>(profileId))?.settings ?? null;
    },

    /** The same with the revision. */
    loadUiSettingsWithRevision<Settings extends object = UiSettings>(
      profileId: string,
    ): Promise<UiSettingsWithRevision<Settings> | null> {
      return load<Settings>(profileId);
    },

    /**
     * Replace the settings of a profile. With `expectedRevision`, only over that revision: else
     * `stale_revision`, with the stored `revision` and `settings` in `details`.
     */
    async saveUiSettings<Settings extends object = UiSettings>(
      profileId: string,
      snapshot: Settings,
      options?: SaveOptions,
    ): Promise<Settings> {
      return (await save(profileId, snapshot, options)).record;
    },

    /**
     * Change parts of the settings (RFC 7396 merge patch: null removes a key, an array replaces the
     * stored one); what others changed meanwhile stays.
     */
    async patchUiSettings<Settings extends object = UiSettings>(
      profileId: string,
      changes: object,
      options?: SaveOptions,
    ): Promise<UiSettingsWithRevision<Settings>> {
      return (await patch<Settings>(profileId, changes, options)).record;
    },

    /** The writes again, with the transaction's id: for a collection that waits for its stream. */
    withTxid: { saveUiSettings: save, patchUiSettings: patch },
  };
}

function withRevision<Settings extends object>(
  row: UiSettingsRow,
): UiSettingsWithRevision<Settings> {
  return {
    settings: row.settings as Settings,
    revision: row.revision,
    updatedAt: isoTime(row.updated_at),
  };
}
