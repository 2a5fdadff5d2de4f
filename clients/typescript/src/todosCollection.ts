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
    id: 'todos',
    queryKey: ['todos'],
    queryFn: () => source.listTodos(),
    queryClient,
    getKey: (todo) => todo.id,

    async onInsert({ transaction }) {
      const stored: Todo[] = [];
      for (const { modified } of transaction.mutations) {
        const { id, text, completed } = modified;
        stored.push(await source.insertTodo({ id, text, completed }));
      }
      writeBack(() => stored.forEach((todo) => void options.utils.writeUpsert(todo)));
      return { refetch: false };
    },

    async onUpdate({ transaction }) {
      const stored: Todo[] = [];
      for (const { key, changes } of transaction.mutations) {
        const { text, completed } = changes;
        stored.push(
          await source.updateTodo(String(key), {
            ...(text === undefined ? {} : { text }),
            ...(completed === undefined ? {} : { completed }),
          }),
        );
      }
      writeBack(() => stored.forEach((todo) => void options.utils.writeUpdate(todo)));
      return { refetch: false };
    },

    async onDelete({ transaction }) {
      const keys = transaction.mutations.map(({ key }) => String(key));
      for (const key of keys) await source.deleteTodoRecord(key);
      writeBack(() => void options.utils.writeDelete(keys));
      return { refetch: false };
    },
  });

  // Not awaited: it is applied when the handler has returned.
  function writeBack(write: () => void): void {
    options.utils.writeBatch(write).catch(() => options.utils.refetch());
  }

  return options;
}
