import { sharedConnection } from './connection.js';
import { todos } from './domains/todos.js';
import type { Todo } from './todo.js';

export type { Todo } from './todo.js';

/** The profile's list, oldest first. */
export async function listTodos(): Promise<Todo[]> {
  return todos(sharedConnection()).listTodos();
}

/** Add a todo to the list. */
export async function addTodo(text: string): Promise<Todo> {
  return todos(sharedConnection()).addTodo(text);
}

/** Turn a todo from open to done, or back; never repeated once it may have been carried out. */
export async function toggleTodoRecord(id: string): Promise<Todo> {
  return todos(sharedConnection()).toggleTodoRecord(id);
}

/** Delete a todo. */
export async function deleteTodoRecord(id: string): Promise<void> {
  return todos(sharedConnection()).deleteTodoRecord(id);
}
