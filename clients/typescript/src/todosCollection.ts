// For the browser too: nothing here reaches the server by itself, and no secret is near.
import type { QueryClient } from '@tanstack/query-core';
import { queryCollectionOptions } from '@tanstack/query-db-collection';
import type { Todo, TodosSource } from './todo.js';

/** What todosCollectionServer.ts describes, for a browser. */
export function todosCollectionOptions(queryClient: QueryClient, source: TodosSource) {
  if (!source) {
    throw new Error('In a browser, give todosCollectionOptions a source that calls your server');
  }
  const options = queryCollectionOptions<Todo, Error, string[], string>({
    id: `todos-${source.profileId}`,
    queryKey: ['todos', String(source.profileId)],
    queryFn: () => source.listTodos(),
    queryClient,
    getKey: (todo) => todo.id,

    async onInsert({ transaction }) {
      await each(
        transaction.mutations,
        ({ modified: { id, text, completed } }) => source.insertTodo({ id, text, completed }),
        (todo) => options.utils.writeUpsert(todo),
      );
      return { refetch: false };
    },

    async onUpdate({ transaction }) {
      await each(
        transaction.mutations,
        ({ key, changes: { text, completed } }) =>
          source.updateTodo(String(key), {
            ...(text === undefined ? {} : { text }),
            ...(completed === undefined ? {} : { completed }),
          }),
        (todo) => options.utils.writeUpdate(todo),
      );
      return { refetch: false };
    },

    async onDelete({ transaction }) {
      await each(
        transaction.mutations.map(({ key }) => String(key)),
        async (key) => {
          await source.deleteTodoRecord(key);
          return key;
        },
        (key) => options.utils.writeDelete(key),
      );
      return { refetch: false };
    },
  });

  /**
   * Send one after the other and put into the collection what the server did. Where one fails, those
   * before it are done all the same; the collection drops only what was not.
   */
  async function each<Mutation, Done>(
    mutations: readonly Mutation[],
    send: (mutation: Mutation) => Promise<Done>,
    write: (done: Done) => unknown,
  ): Promise<void> {
    const done: Done[] = [];
    try {
      for (const mutation of mutations) done.push(await send(mutation));
    } finally {
      // Not awaited: it is applied when the handler has returned.
      options.utils
        .writeBatch(() => done.forEach((one) => void write(one)))
        .catch(() => options.utils.refetch());
    }
  }

  return options;
}
