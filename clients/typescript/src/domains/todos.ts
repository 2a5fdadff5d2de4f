import { randomUUID } from 'node:crypto';
import { type Connection, WRITTEN } from '../connection.js';
import { SessionbaseError } from '../errors.js';
import { isoTime, only, type TodoRow, type Written } from '../rows.js';
import { requireStorable } from '../storable.js';
import type { Todo, TodoChanges, TodoDraft } from '../todo.js';
import { type WithTxid, withTxid } from '../withTxid.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function todos(connection: Connection) {
  async function insert(draft: TodoDraft): Promise<WithTxid<Todo>> {
    requireStorable(draft);
    const { id, text, completed = false } = draft;
    const rows = await connection.send<Written<TodoRow>[]>(
      (client) => client.from('todos').insert({ id, text, completed }).select(WRITTEN),
      {
        repeatable: true,
        // An attempt without an answer had stored it, unless another todo has the id: writing the
        // same text again gives a transaction that a stream will name.
        async recover(error) {
          if (error.code !== '23505') return undefined;
          const stored = await connection.send<TodoRow[]>(
            (client) => client.from('todos').select().eq('id', id),
            { repeatable: true },
          );
          if (only(stored)?.text !== text) return undefined;
          return connection.send<Written<TodoRow>[]>(
            (client) => client.from('todos').update({ text }).eq('id', id).select(WRITTEN),
            { repeatable: true },
          );
        },
      },
    );
    return written(rows);
  }

  async function update(id: string, changes: TodoChanges): Promise<WithTxid<Todo>> {
    requireStorable({ id, ...changes });
    requireUuid(id);
    if (changes.text === undefined && changes.completed === undefined) {
      throw new SessionbaseError('Give text or completed, or both', {
        code: 'invalid_argument',
        status: 0,
      });
    }
    const rows = await connection.send<Written<TodoRow>[]>(
      (client) =>
        client
          .from('todos')
          .update({ ...changes })
          .eq('id', id)
          .select(WRITTEN),
      { repeatable: true },
    );
    return written(rows);
  }

  async function toggle(id: string): Promise<WithTxid<Todo>> {
    requireUuid(id);
    const row = await connection.call(
      'toggle_todo',
      { id },
      { select: WRITTEN, repeatable: false },
    );
    return written([row]);
  }

  /** Null: a repetition found it gone. */
  async function remove(id: string): Promise<WithTxid<Todo> | null> {
    requireUuid(id);
    const row = await connection.call(
      'delete_todo',
      { id },
      {
        select: WRITTEN,
        repeatable: true,
        recover: async (error) => (error.code === 'not_found' ? null : undefined),
      },
    );
    return row && written([row]);
  }

  return {
    profileId: connection.profileId,

    /** The profile's list, oldest first. */
    async listTodos(): Promise<Todo[]> {
      const rows = await connection.list<TodoRow, 'created_at' | 'id'>(
        ['created_at', 'id'],
        (client, page) => {
          const query = client.from('todos').select();
          return (page.after ? query.or(page.after) : query)
            .order('created_at')
            .order('id')
            .limit(page.size);
        },
      );
      return rows.map(todo);
    },

    /** Add a todo to the list. */
    async addTodo(text: string): Promise<Todo> {
      return (await insert({ id: randomUUID(), text })).record;
    },

    /** Add a todo whose id the caller made. */
    async insertTodo(draft: TodoDraft): Promise<Todo> {
      return (await insert(draft)).record;
    },

    /** Set the text or whether it is done. Safe to repeat, unlike a toggle. */
    async updateTodo(id: string, changes: TodoChanges): Promise<Todo> {
      return (await update(id, changes)).record;
    },

    /**
     * Turn a todo from open to done, or back; two at once both count. It is not repeated once it may
     * have been carried out: then the error is `unreachable`, and a list tells what is stored.
     */
    async toggleTodoRecord(id: string): Promise<Todo> {
      return (await toggle(id)).record;
    },

    /** Delete a todo. */
    async deleteTodoRecord(id: string): Promise<void> {
      await remove(id);
    },

    /** The writes again, with the transaction's id: for a collection that waits for its stream. */
    withTxid: {
      addTodo: (text: string): Promise<WithTxid<Todo>> => insert({ id: randomUUID(), text }),
      insertTodo: insert,
      updateTodo: update,
      toggleTodoRecord: toggle,
      async deleteTodoRecord(id: string): Promise<WithTxid<Todo>> {
        const deleted = await remove(id);
        if (deleted) return deleted;
        throw new SessionbaseError('The todo is deleted, but its transaction is not known', {
          code: 'unreachable',
          status: 0,
          hint: 'An attempt without an answer deleted it; the stream brings the deletion',
        });
      },
    },
  };
}

function todo(row: TodoRow): Todo {
  return {
    id: row.id,
    text: row.text,
    completed: row.completed,
    createdAt: isoTime(row.created_at),
  };
}

function written(rows: Written<TodoRow>[]): WithTxid<Todo> {
  const row = only(rows);
  if (!row) throw notFound();
  return withTxid(row, todo);
}

function requireUuid(id: string): void {
  if (!UUID.test(id)) throw notFound();
}

function notFound(): SessionbaseError {
  return new SessionbaseError('Todo not found', { code: 'not_found', status: 404 });
}
