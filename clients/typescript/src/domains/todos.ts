import { randomUUID } from 'node:crypto';
import { ALL_WITH_TXID, type Connection, sharedConnection } from '../connection.js';
import { afterEarlierRequest, SessionbaseError } from '../errors.js';
import { type Row, type RowWithOptionalTxid, type RowWithTxid, toIsoTime } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

type TodoRow = Row<'todos'>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    add_todo: RowWithOptionalTxid<TodoRow>;
    toggle_todo: RowWithTxid<TodoRow>;
    delete_todo: RowWithTxid<TodoRow>;
  }
}

export interface Todo {
  id: string;
  text: string;
  completed: boolean;
  createdAt: string;
}

/** A new todo with an id that the caller created. */
export interface TodoDraft {
  /** A UUID. */
  id: string;
  text: string;
  completed?: boolean;
}

/** The fields of a todo that can be changed. */
export interface TodoChanges {
  text?: string;
  completed?: boolean;
}

/**
 * The functions that a collection of todos uses. On a server, `forProfile(…).todos` has them. In a
 * browser, each function calls a server function of the app.
 */
export interface TodosSource {
  /** The profile of the todos. It separates the profiles that share a QueryClient. */
  readonly profileId: string | null;
  listTodos(): Promise<Todo[]>;
  insertTodo(draft: TodoDraft): Promise<Todo>;
  updateTodo(id: string, changes: TodoChanges): Promise<Todo>;
  deleteTodoRecord(id: string): Promise<unknown>;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @internal */
export function bindTodos(connection: Connection) {
  async function insert(draft: TodoDraft): Promise<WithTxid<Todo, number | null>> {
    assertStorable(draft);
    const { id, text, completed = false } = draft;
    const row = await connection.call('add_todo', { id, text });
    if (!completed) return toWithTxid(row, toTodo);
    // add_todo creates open todos; both requests are safe to repeat, so the whole call is.
    return update(id, { completed }).catch((error: unknown) => {
      throw afterEarlierRequest(error);
    });
  }

  async function update(id: string, changes: TodoChanges): Promise<WithTxid<Todo>> {
    assertStorable({ id, ...changes });
    assertUuid(id);
    if (Object.values(changes).every((value) => value === undefined)) {
      throw new SessionbaseError('Give at least one field to change', {
        code: 'invalid_argument',
        status: 0,
      });
    }
    const [row] = await connection.write<RowWithTxid<TodoRow>[]>('PATCH /todos', (client) =>
      client
        .from('todos')
        .update({ ...changes })
        .eq('id', id)
        .select(ALL_WITH_TXID),
    );
    if (!row) throw notFound(id);
    return toWithTxid(row, toTodo);
  }

  async function toggle(id: string): Promise<WithTxid<Todo>> {
    assertUuid(id);
    const row = await connection.call('toggle_todo', { id });
    return toWithTxid(row, toTodo);
  }

  /** Returns null if an attempt whose response was lost had deleted the todo. */
  async function remove(id: string): Promise<WithTxid<Todo> | null> {
    assertUuid(id);
    const row = await connection.call(
      'delete_todo',
      { id },
      {
        recover: (error) => Promise.resolve(error.code === 'not_found' ? null : undefined),
      },
    );
    return row && toWithTxid(row, toTodo);
  }

  return {
    profileId: connection.profileId,

    /** List the todos of the profile, oldest first. */
    async listTodos(): Promise<Todo[]> {
      return (await connection.list<TodoRow>('todos', ['created_at', 'id'])).map(toTodo);
    },

    /** Add a todo. */
    async addTodo(text: string): Promise<Todo> {
      return (await insert({ id: randomUUID(), text })).record;
    },

    /**
     * Add a todo with an id that the caller created. If a todo with this id and text is stored already,
     * it is returned; a todo with another text throws `id_taken`.
     */
    async insertTodo(draft: TodoDraft): Promise<Todo> {
      return (await insert(draft)).record;
    },

    /** Set the text, or whether the todo is completed. Unlike a toggle, it is safe to repeat. */
    async updateTodo(id: string, changes: TodoChanges): Promise<Todo> {
      return (await update(id, changes)).record;
    },

    /**
     * Switch a todo between open and completed. Two concurrent toggles both take effect. The call is not
     * retried if the server may have executed it; it then throws an error with the outcome `unknown`.
     */
    async toggleTodoRecord(id: string): Promise<Todo> {
      return (await toggle(id)).record;
    },

    /** Delete a todo. */
    async deleteTodoRecord(id: string): Promise<void> {
      await remove(id);
    },

    /** The same writes, with the transaction id, for a collection that waits for its replication stream. */
    withTxid: {
      addTodo: (text: string): Promise<WithTxid<Todo, number | null>> =>
        insert({ id: randomUUID(), text }),
      insertTodo: insert,
      updateTodo: update,
      toggleTodoRecord: toggle,
      async deleteTodoRecord(id: string): Promise<WithTxid<Todo>> {
        const deleted = await remove(id);
        if (deleted) return deleted;
        throw new SessionbaseError('The todo is deleted, but the transaction is not known', {
          code: 'unreachable',
          status: 0,
          outcome: 'stored',
          hint: 'The response of the attempt that deleted it was lost. The replication stream will report the deletion',
        });
      },
    },
  };
}

function toTodo(row: TodoRow): Todo {
  return {
    id: row.id,
    text: row.text,
    completed: row.completed,
    createdAt: toIsoTime(row.created_at),
  };
}

/** An id that is not a UUID cannot exist; PostgreSQL would answer with a type error. */
function assertUuid(id: string): void {
  if (!UUID.test(id)) throw notFound(id);
}

function notFound(id: string): SessionbaseError {
  return new SessionbaseError('Todo not found', {
    code: 'not_found',
    status: 404,
    details: { id },
  });
}

/** List the todos of the profile, oldest first. */
export async function listTodos(): Promise<Todo[]> {
  return bindTodos(sharedConnection()).listTodos();
}

/** Add a todo. */
export async function addTodo(text: string): Promise<Todo> {
  return bindTodos(sharedConnection()).addTodo(text);
}

/** Switch a todo between open and completed. Not retried if the server may have executed it. */
export async function toggleTodoRecord(id: string): Promise<Todo> {
  return bindTodos(sharedConnection()).toggleTodoRecord(id);
}

/** Delete a todo. */
export async function deleteTodoRecord(id: string): Promise<void> {
  return bindTodos(sharedConnection()).deleteTodoRecord(id);
}
