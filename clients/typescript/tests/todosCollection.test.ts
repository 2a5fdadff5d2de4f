import { createCollection } from '@tanstack/db';
import { QueryClient } from '@tanstack/query-core';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { configure, forProfile, todos } from '../src/index.js';
import { todosCollectionOptions } from '../src/todosCollection.js';
import { jwtSecret, ownModules, ownProfile, startProxy, restUrl } from './support/stack.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function open(queryClient = new QueryClient()) {
  const proxy = await startProxy(() => 'forward');
  const source = forProfile(ownProfile(), { restUrl: proxy.url, jwtSecret }).todos;
  const collection = createCollection(todosCollectionOptions(queryClient, source));
  closing.push(async () => {
    await collection.cleanup();
    queryClient.clear();
    await proxy.close();
  });
  await collection.preload();
  return { collection, source, requests: proxy.requests };
}

describe('a collection of todos', () => {
  test('contains the rows that the server returned, and does not fetch the list again', async () => {
    const { collection, source, requests } = await open();
    expect(requests).toEqual(['GET /todos']);
    const id = randomUUID();
    const draft = { id, text: 'a', completed: false, createdAt: '1970-01-01T00:00:00.000Z' };

    await collection.insert(draft).isPersisted.promise;
    // The time of the server replaces the one of the optimistic insert.
    await expect.poll(() => collection.get(id)?.createdAt).not.toBe(draft.createdAt);
    const [stored] = await source.listTodos();
    expect(collection.get(id)).toMatchObject(stored!);

    await collection.update(id, (todo) => {
      todo.completed = true;
    }).isPersisted.promise;
    expect(collection.get(id)).toMatchObject({ ...stored, completed: true });
    await collection.delete(id).isPersisted.promise;
    expect(collection.has(id)).toBe(false);
    expect(await source.listTodos()).toEqual([]);
    expect(requests).toEqual([
      'GET /todos', // the collection's only one
      'POST /rpc/add_todo',
      'GET /todos', // this test's
      'PATCH /todos',
      'POST /rpc/delete_todo',
      'GET /todos', // this test's
    ]);
  });

  test('contains the todos of the configured profile if no source is given', async () => {
    configure({ restUrl, jwtSecret, profileId: ownProfile() });
    const todo = await todos.addTodo('of the configured profile');
    const collection = createCollection(todosCollectionOptions(new QueryClient()));
    await collection.preload();
    expect(collection.get(todo.id)).toMatchObject(todo);
    await collection.cleanup();
    configure({});
  });

  test('contains the todos of its own profile only, also with a shared QueryClient', async () => {
    const queryClient = new QueryClient();
    const [alice, bob] = [await open(queryClient), await open(queryClient)];
    expect(alice.collection.id).not.toBe(bob.collection.id);
    const id = randomUUID();
    const draft = { id, text: 'of alice', completed: false, createdAt: '' };
    await alice.collection.insert(draft).isPersisted.promise;
    await bob.collection.utils.refetch();
    await alice.collection.utils.refetch();
    expect([...alice.collection.keys()]).toEqual([id]);
    expect([...bob.collection.keys()]).toEqual([]);
  });

  test('keeps the rows of a batch that were written before the server refused one', async () => {
    const { collection, source } = await open();
    const [first, second, third] = [randomUUID(), randomUUID(), randomUUID()];
    const draft = (id: string, text: string) => ({ id, text, completed: false, createdAt: '' });
    const expectStoredRows = async () => {
      const stored = await source.listTodos();
      await expect
        .poll(() => [...collection.values()].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1)))
        .toMatchObject(stored);
      return stored.map(({ id, text }) => [id, text]);
    };

    const inserted = collection.insert([draft(first, 'a'), draft(second, ' '), draft(third, 'c')]);
    await expect(inserted.isPersisted.promise).rejects.toThrow('text must not be blank');
    expect(await expectStoredRows()).toEqual([[first, 'a']]);

    await collection.insert([draft(second, 'b'), draft(third, 'c')]).isPersisted.promise;
    await expectStoredRows();
    const updated = collection.update([first, second, third], (todos) => {
      todos.forEach((todo, number) => {
        todo.text = ['changed', ' ', 'never'][number]!;
      });
    });
    await expect(updated.isPersisted.promise).rejects.toThrow('text must not be blank');
    expect(await expectStoredRows()).toEqual([
      [first, 'changed'],
      [second, 'b'],
      [third, 'c'],
    ]);

    await source.deleteTodoRecord(second); // By another client: the collection does not know it.
    const deleted = collection.delete([first, second, third]);
    await expect(deleted.isPersisted.promise).rejects.toThrow('Todo not found');
    await expect.poll(() => collection.has(first)).toBe(false);
    expect(collection.has(third)).toBe(true);
    await collection.utils.refetch();
    expect(await expectStoredRows()).toEqual([[third, 'c']]);
  });

  test('rolls back a write that the server refuses', async () => {
    const { collection } = await open();
    const blank = { id: randomUUID(), text: ' ', completed: false, createdAt: '' };
    const transaction = collection.insert(blank);
    expect(collection.has(blank.id)).toBe(true);
    await expect(transaction.isPersisted.promise).rejects.toThrow('text must not be blank');
    expect(collection.has(blank.id)).toBe(false);
  });
});

test('each write returns the id of its transaction in withTxid', async () => {
  const { withTxid, listTodos } = ownModules().todos;
  const added = await withTxid.addTodo('x');
  const { id } = added.record;
  const inserted = await withTxid.insertTodo({ id: randomUUID(), text: 'y', completed: true });
  const updated = await withTxid.updateTodo(id, { text: 'z' });
  await expect(withTxid.updateTodo(id, {})).rejects.toThrow('Give at least one field to change');
  const toggled = await withTxid.toggleTodoRecord(id);
  expect(toggled.record).toEqual({ ...added.record, text: 'z', completed: true });
  const deleted = await withTxid.deleteTodoRecord(id);
  const txids = [added, inserted, updated, toggled, deleted].map(({ txid }) => txid);
  expect(txids.every((txid) => Number.isSafeInteger(txid) && Number(txid) > 0)).toBe(true);
  expect(new Set(txids).size).toBe(5);
  expect(await listTodos()).toEqual([inserted.record]);
});
