import type { QueryClient } from '@tanstack/query-core';
import { sharedConnection } from './connection.js';
import { todos } from './domains/todos.js';
import type { TodosSource } from './todo.js';
import { todosCollectionOptions as optionsOf } from './todosCollection.js';

export type { Todo, TodoChanges, TodoDraft, TodosSource } from './todo.js';

/**
 * Options of a TanStack DB query collection of todos. What the server answered to a write is put into
 * the collection as it is; nothing is fetched again. On a server `source` is the configured profile's
 * list where none is given; in a browser it must be given.
 */
export function todosCollectionOptions(
  queryClient: QueryClient,
  source: TodosSource = todos(sharedConnection()),
) {
  return optionsOf(queryClient, source);
}
