import { type Connection, WRITTEN } from '../connection.js';
import { only, type SessionRepoBindingRow, type Written } from '../rows.js';
import { requireStorable } from '../storable.js';
import { type WithTxid, withTxid } from '../withTxid.js';

/** Which repository a session works on. */
export interface SessionRepoBinding {
  sessionId: string;
  assetPath: string;
  rootDir: string;
  /** Milliseconds since 1970. */
  updatedAt: number;
}

export function bindings(connection: Connection) {
  async function set(
    input: Omit<SessionRepoBinding, 'updatedAt'>,
  ): Promise<WithTxid<SessionRepoBinding>> {
    requireStorable(input);
    const row = await connection.call(
      'set_session_repo_binding',
      {
        session_id: input.sessionId ?? null,
        asset_path: input.assetPath ?? null,
        root_dir: input.rootDir ?? null,
      },
      { select: WRITTEN, repeatable: true },
    );
    return withTxid(row, binding);
  }

  async function clear(sessionId: string): Promise<WithTxid<SessionRepoBinding> | null> {
    requireStorable({ sessionId });
    const rows = await connection.send<Written<SessionRepoBindingRow>[]>(
      (client) =>
        client.from('session_repo_bindings').delete().eq('session_id', sessionId).select(WRITTEN),
      { repeatable: true },
    );
    const row = only(rows);
    return row ? withTxid(row, binding) : null;
  }

  return {
    /** Bind a session to a repository, instead of the one that it had. */
    async setSessionRepoBinding(
      input: Omit<SessionRepoBinding, 'updatedAt'>,
    ): Promise<SessionRepoBinding> {
      return (await set(input)).record;
    },

    /** The binding of a session, or null. */
    async getSessionRepoBinding(sessionId: string): Promise<SessionRepoBinding | null> {
      requireStorable({ sessionId });
      const rows = await connection.send<SessionRepoBindingRow[]>(
        (client) => client.from('session_repo_bindings').select().eq('session_id', sessionId),
        { repeatable: true },
      );
      const row = only(rows);
      return row ? binding(row) : null;
    },

    /** Remove the binding of a session; quiet where there is none. */
    async clearSessionRepoBinding(sessionId: string): Promise<void> {
      await clear(sessionId);
    },

    /** All bindings, the longest untouched first. */
    async listSessionRepoBindings(): Promise<SessionRepoBinding[]> {
      const rows = await connection.list<SessionRepoBindingRow, 'updated_at' | 'session_id'>(
        ['updated_at', 'session_id'],
        (client, page) => {
          const query = client.from('session_repo_bindings').select();
          return (page.after ? query.or(page.after) : query)
            .order('updated_at')
            .order('session_id')
            .limit(page.size);
        },
      );
      return rows.map(binding);
    },

    /**
     * The writes again, with the transaction's id, for a collection that waits for its stream.
     * Clearing gives what was removed; null where there was none, or a lost attempt had removed it.
     */
    withTxid: { setSessionRepoBinding: set, clearSessionRepoBinding: clear },
  };
}

/** Change a row into the app's record. */
export function binding(row: SessionRepoBindingRow): SessionRepoBinding {
  return {
    sessionId: row.session_id,
    assetPath: row.asset_path,
    rootDir: row.root_dir,
    updatedAt: new Date(row.updated_at).getTime(),
  };
}
