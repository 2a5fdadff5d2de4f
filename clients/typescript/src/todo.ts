// Apart from the collection, so that who uses none needs no TanStack package.

/** One thing to do. */
export interface Todo {
  id: string;
  text: string;
  completed: boolean;
  createdAt: string;
}

/** A new todo with the id that its maker gave it. */
export interface TodoDraft {
  /** A UUID. */
  id: string;
  text: string;
  completed?: boolean;
}

/** What can be changed of a todo. */
export interface TodoChanges {
  text?: string;
  completed?: boolean;
}

/**
 * Where a collection's todos are. On a server `forProfile(…).todosStore` is one; in a browser each
 * member calls a server function of the app that calls that.
 */
export interface TodosSource {
  /** Whose they are: it keeps two profiles apart on one QueryClient. */
  readonly profileId: string | null;
  listTodos(): Promise<Todo[]>;
  insertTodo(draft: TodoDraft): Promise<Todo>;
  updateTodo(id: string, changes: TodoChanges): Promise<Todo>;
  deleteTodoRecord(id: string): Promise<unknown>;
}
