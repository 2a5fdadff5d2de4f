import type { Connection } from '../connection.js';
import { only, type SessionRepoBindingRow } from '../rows.js';
import { requireStorable } from '../storable.js';

/** Which repository a session works on. */
export interface SessionRepoBinding {
  sessionId: string;
  assetPath: string;
  rootDir: string;
  /** Milliseconds since 1970. */
  updatedAt: number;
}

export function bindings(connection: Connection) {
  return {
    /** Bind a session to a repository, instead of the one that it had. */
    async setSessionRepoBinding(
      input: Omit<SessionRepoBinding, 'updatedAt'>,
    ): Promise<SessionRepoBinding> {
      requireStorable(input);
      const row = await connection.call(
        'set_session_repo_binding',
        {
          session_id: input.sessionId ?? null,
          asset_path: input.assetPath ?? null,
          root_dir: input.rootDir ?? null,
        },
        { repeatable: true },
      );
      return binding(row);
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
      requireStorable({ sessionId });
      await connection.send(
        (client) => client.from('session_repo_bindings').delete().eq('session_id', sessionId),
        { repeatable: true },
      );
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
