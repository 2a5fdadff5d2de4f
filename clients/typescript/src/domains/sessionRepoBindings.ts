import { ALL_WITH_TXID, type Connection, sharedConnection } from '../connection.js';
import type { Row, RowWithTxid } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

/** @internal */
export type SessionRepoBindingRow = Row<'session_repo_bindings'>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    set_session_repo_binding: RowWithTxid<SessionRepoBindingRow>;
  }
}

/** The repository that a session works on. */
export interface SessionRepoBinding {
  sessionId: string;
  assetPath: string;
  rootDir: string;
  /** Milliseconds since 1970. */
  updatedAt: number;
}

/** @internal */
export function bindSessionRepoBindings(connection: Connection) {
  async function set(
    input: Omit<SessionRepoBinding, 'updatedAt'>,
  ): Promise<WithTxid<SessionRepoBinding>> {
    assertStorable(input);
    const row = await connection.call('set_session_repo_binding', {
      session_id: input.sessionId ?? null,
      asset_path: input.assetPath ?? null,
      root_dir: input.rootDir ?? null,
    });
    return toWithTxid(row, toSessionRepoBinding);
  }

  async function clear(sessionId: string): Promise<WithTxid<SessionRepoBinding> | null> {
    assertStorable({ sessionId });
    const [row] = await connection.write<RowWithTxid<SessionRepoBindingRow>[]>(
      'DELETE /session_repo_bindings',
      (client) =>
        client
          .from('session_repo_bindings')
          .delete()
          .eq('session_id', sessionId)
          .select(ALL_WITH_TXID),
    );
    return row ? toWithTxid(row, toSessionRepoBinding) : null;
  }

  return {
    /** Set the binding of a session; replaces an existing one. */
    async setSessionRepoBinding(
      input: Omit<SessionRepoBinding, 'updatedAt'>,
    ): Promise<SessionRepoBinding> {
      return (await set(input)).record;
    },

    /** Return the binding of a session, or null. */
    async getSessionRepoBinding(sessionId: string): Promise<SessionRepoBinding | null> {
      assertStorable({ sessionId });
      const [row] = await connection.read<SessionRepoBindingRow[]>((client) =>
        client.from('session_repo_bindings').select().eq('session_id', sessionId),
      );
      return row ? toSessionRepoBinding(row) : null;
    },

    /** Remove the binding of a session. It is no error if there is none. */
    async clearSessionRepoBinding(sessionId: string): Promise<void> {
      await clear(sessionId);
    },

    /** List all bindings, the least recently updated first. */
    async listSessionRepoBindings(): Promise<SessionRepoBinding[]> {
      const rows = await connection.list<SessionRepoBindingRow>('session_repo_bindings', [
        'updated_at',
        'session_id',
      ]);
      return rows.map(toSessionRepoBinding);
    },

    /**
     * The same writes, with the transaction id, for a collection that waits for its replication stream.
     * Clearing returns the removed binding, or null if there was none (any more).
     */
    withTxid: { setSessionRepoBinding: set, clearSessionRepoBinding: clear },
  };
}

/** @internal */
export function toSessionRepoBinding(row: SessionRepoBindingRow): SessionRepoBinding {
  return {
    sessionId: row.session_id,
    assetPath: row.asset_path,
    rootDir: row.root_dir,
    updatedAt: new Date(row.updated_at).getTime(),
  };
}

/** Set the binding of a session; replaces an existing one. */
export async function setSessionRepoBinding(
  input: Omit<SessionRepoBinding, 'updatedAt'>,
): Promise<SessionRepoBinding> {
  return bindSessionRepoBindings(sharedConnection()).setSessionRepoBinding(input);
}

/** Return the binding of a session, or null. */
export async function getSessionRepoBinding(sessionId: string): Promise<SessionRepoBinding | null> {
  return bindSessionRepoBindings(sharedConnection()).getSessionRepoBinding(sessionId);
}

/** Remove the binding of a session. It is no error if there is none. */
export async function clearSessionRepoBinding(sessionId: string): Promise<void> {
  return bindSessionRepoBindings(sharedConnection()).clearSessionRepoBinding(sessionId);
}

/** List all bindings, the least recently updated first. */
export async function listSessionRepoBindings(): Promise<SessionRepoBinding[]> {
  return bindSessionRepoBindings(sharedConnection()).listSessionRepoBindings();
}
