import type { QueryClient } from '@tanstack/query-core';
import { sharedConnection } from './connection.js';
import { bindTodos, type TodosSource } from './domains/todos.js';
import { todosCollectionOptions as browserOptions } from './todosCollection.browser.js';

export type { Todo, TodoChanges, TodoDraft, TodosSource } from './domains/todos.js';

/**
 * Create the options of a TanStack DB query collection of todos. The row that the server returns for a
 * write is put into the collection; the list is not fetched again. On a server, `source` defaults to the
 * todos of the configured profile; in a browser it is required.
 */
export function todosCollectionOptions(
  queryClient: QueryClient,
  source: TodosSource = bindTodos(sharedConnection()),
) {
  return browserOptions(queryClient, source);
}
