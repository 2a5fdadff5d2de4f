// Also runs in a browser, so it must not import a module that uses the secret.
import type { QueryClient } from '@tanstack/query-core';
import { queryCollectionOptions } from '@tanstack/query-db-collection';
import type { Todo, TodosSource } from './domains/todos.js';

/** See todosCollection.ts; here `source` is required. */
export function todosCollectionOptions(queryClient: QueryClient, source: TodosSource) {
  if (!source) {
    throw new Error(
      'In a browser, todosCollectionOptions needs a source that calls server functions of the app',
    );
  }
  const options = queryCollectionOptions<Todo, Error, string[], string>({
    id: `todos-${source.profileId}`,
    queryKey: ['todos', String(source.profileId)],
    queryFn: () => source.listTodos(),
    queryClient,
    getKey: (todo) => todo.id,

    async onInsert({ transaction }) {
      await sendEach(
        transaction.mutations,
        ({ modified: { createdAt, ...draft } }) => source.insertTodo(draft),
        (todo) => options.utils.writeUpsert(todo),
      );
      return { refetch: false };
    },

    async onUpdate({ transaction }) {
      await sendEach(
        transaction.mutations,
        ({ key, changes: { id, createdAt, ...changes } }) =>
          source.updateTodo(String(key), changes),
        (todo) => options.utils.writeUpdate(todo),
      );
      return { refetch: false };
    },

    async onDelete({ transaction }) {
      await sendEach(
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
   * Send the mutations one after the other, and put the results into the collection. If one fails, the
   * results of those before it are kept; the collection rolls back only the rest.
   */
  async function sendEach<Mutation, Result>(
    mutations: readonly Mutation[],
    send: (mutation: Mutation) => Promise<Result>,
    write: (result: Result) => unknown,
  ): Promise<void> {
    const results: Result[] = [];
    try {
      for (const mutation of mutations) results.push(await send(mutation));
    } finally {
      // Not awaited: the collection applies it after this handler has returned.
      options.utils
        .writeBatch(() => results.forEach((result) => void write(result)))
        .catch(() => options.utils.refetch());
    }
  }

  return options;
}
