import { createCollection } from '@tanstack/db';
import { QueryClient } from '@tanstack/query-core';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { configure, forProfile, todosStore } from '../src/index.js';
import { todosCollectionOptions } from '../src/todosCollectionServer.js';
import { jwtSecret, ownModules, ownProfile, proxy, restUrl } from './support/stack.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function open() {
  const between = await proxy(() => 'pass');
  const source = forProfile(ownProfile(), { restUrl: between.url, jwtSecret }).todosStore;
  const queryClient = new QueryClient();
  const collection = createCollection(todosCollectionOptions(queryClient, source));
  closing.push(async () => {
    await collection.cleanup();
    queryClient.clear();
    await between.close();
  });
  await collection.preload();
  return { collection, source, seen: between.seen };
}

describe('a collection of todos', () => {
  test('puts what the server answered into itself and fetches nothing again', async () => {
    const { collection, source, seen } = await open();
    expect(seen).toEqual(['GET /todos']);
    const id = randomUUID();
    const draft = { id, text: 'a', completed: false, createdAt: '1970-01-01T00:00:00.000Z' };

    await collection.insert(draft).isPersisted.promise;
    // The server's time, not the one that the browser put there for the moment.
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
    expect(seen).toEqual([
      'GET /todos', // the collection's own, the only one
      'POST /todos',
      'GET /todos', // this test's
      'PATCH /todos',
      'POST /rpc/delete_todo',
      'GET /todos', // this test's
    ]);
  });

  test('is of the configured profile where no source is given', async () => {
    configure({ restUrl, jwtSecret, profileId: ownProfile() });
    const todo = await todosStore.addTodo('of the configured profile');
    const collection = createCollection(todosCollectionOptions(new QueryClient()));
    await collection.preload();
    expect(collection.get(todo.id)).toMatchObject(todo);
    await collection.cleanup();
    configure({});
  });

  test('takes a write back that the server refuses', async () => {
    const { collection } = await open();
    const blank = { id: randomUUID(), text: ' ', completed: false, createdAt: '' };
    const transaction = collection.insert(blank);
    expect(collection.has(blank.id)).toBe(true);
    await expect(transaction.isPersisted.promise).rejects.toThrow('text must not be blank');
    expect(collection.has(blank.id)).toBe(false);
  });
});

test('each write can give the number of the transaction that made it', async () => {
  const { withTxid, listTodos } = ownModules().todosStore;
  const added = await withTxid.addTodo('x');
  const { id } = added.record;
  const inserted = await withTxid.insertTodo({ id: randomUUID(), text: 'y', completed: true });
  const updated = await withTxid.updateTodo(id, { text: 'z' });
  await expect(withTxid.updateTodo(id, {})).rejects.toThrow('Give text or completed, or both');
  const toggled = await withTxid.toggleTodoRecord(id);
  expect(toggled.record).toEqual({ ...added.record, text: 'z', completed: true });
  const deleted = await withTxid.deleteTodoRecord(id);
  const txids = [added, inserted, updated, toggled, deleted].map(({ txid }) => txid);
  expect(txids.every((txid) => Number.isSafeInteger(txid) && txid > 0)).toBe(true);
  expect(new Set(txids).size).toBe(5);
  expect(await listTodos()).toEqual([inserted.record]);
});
