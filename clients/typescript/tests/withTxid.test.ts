import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { forProfile } from '../src/index.js';
import { jwtSecret, ownModules, ownProfile, startProxy } from './support/stack.js';

// That a replication stream reports the same ids is tested in Python, by test_txid.py.
function expectDifferentTransactions(outcomes: { txid: number | null }[]) {
  const txids = outcomes.map(({ txid }) => txid);
  expect(txids.every((txid) => Number.isSafeInteger(txid) && Number(txid) > 0)).toBe(true);
  expect(new Set(txids).size).toBe(outcomes.length);
}

const candidate = { ruleId: 'r', title: 't', summary: 's' };

test('tool events: a write returns its transaction id, a repeated write null', async () => {
  const { withTxid, ...plain } = ownModules().toolEvents;
  const id = randomUUID();
  const input = { id, sessionId: 's', toolName: 't', toolCallId: 'c', arguments: {} };
  const inserted = await withTxid.insert({ ...input, status: 'pending' });
  expect(await plain.listBySession('s')).toEqual([inserted.record]);
  const started = await withTxid.updateStatus(id, 'executing');
  expect(await plain.listBySession('s')).toEqual([started.record]);
  const done = await withTxid.updateStatusByToolCall('c', 'succeeded', { result: 1 });
  expect(await plain.listBySession('s')).toEqual([done?.record]);
  expectDifferentTransactions([inserted, started, done!]);

  const again = { record: done?.record, txid: null };
  expect(await withTxid.updateStatus(id, 'succeeded')).toEqual(again);
  expect(await withTxid.updateStatusByToolCall('c', 'succeeded')).toEqual(again);
  expect(await withTxid.insert({ ...input, status: 'pending' })).toEqual(again);
  expect(await plain.updateStatus(id, 'succeeded')).toEqual(done?.record);
  expect(await withTxid.updateStatusByToolCall('unknown', 'failed')).toBeNull();
});

test('misalignments: a write returns its transaction id, an ingest that changes nothing null', async () => {
  const { withTxid, ...plain } = ownModules().misalignments;
  const upserted = await withTxid.upsertMisalignment({ sessionId: 's', ...candidate });
  const { id } = upserted.record;
  const more = [candidate, { ...candidate, ruleId: 'q' }];
  const ingested = await withTxid.ingestMisalignmentCandidates('s', more);
  expect(ingested.records).toEqual(await plain.listMisalignments('s'));
  const moved = await withTxid.updateMisalignmentStatus('s', id, 'dismissed');
  expect(moved.previousStatus).toBe('open');
  expect(await plain.listMisalignments('s')).toContainEqual(moved.record);
  expectDifferentTransactions([upserted, ingested, moved]);

  const repeated = await withTxid.ingestMisalignmentCandidates('s', more);
  expect(repeated).toEqual({ records: await plain.listMisalignments('s'), txid: null });
  const one = { sessionId: 's', ...candidate };
  expect(await withTxid.upsertMisalignment(one)).toEqual({
    record: await plain.upsertMisalignment(one),
    txid: null,
  });
  expect(await plain.updateMisalignmentStatus('s', id, 'open')).toEqual({
    record: { ...moved.record, status: 'open', updatedAt: expect.any(String) },
    previousStatus: 'dismissed',
  });
});

test('candidates in several calls: txid is the last transaction that wrote something', async () => {
  const { withTxid } = ownModules().misalignments;
  const many = Array.from({ length: 501 }, (_, number) => ({ ...candidate, ruleId: `${number}` }));
  const first = await withTxid.ingestMisalignmentCandidates('s', many);
  // The second time, only the first of the two calls writes.
  const changed = [{ ...many[0]!, title: 'new' }, ...many.slice(1)];
  const second = await withTxid.ingestMisalignmentCandidates('s', changed);
  expectDifferentTransactions([first, second]);
  expect(second.records).toHaveLength(501);
  expect((await withTxid.ingestMisalignmentCandidates('s', changed)).txid).toBeNull();
  expect(await withTxid.ingestMisalignmentCandidates('s', [])).toEqual({ records: [], txid: null });
});

test('bindings: setting and clearing return the transaction id; null if there is nothing to clear', async () => {
  const { withTxid, ...plain } = ownModules().sessionRepoBindings;
  const input = { sessionId: 's', assetPath: 'a', rootDir: '/' };
  const set = await withTxid.setSessionRepoBinding(input);
  const same = await withTxid.setSessionRepoBinding(input);
  expect(await plain.getSessionRepoBinding('s')).toEqual(same.record);
  const cleared = await withTxid.clearSessionRepoBinding('s');
  expect(cleared?.record).toEqual(same.record);
  expectDifferentTransactions([set, same, cleared!]);
  expect(await plain.getSessionRepoBinding('s')).toBeNull();
  expect(await withTxid.clearSessionRepoBinding('s')).toBeNull();
  expect(await plain.clearSessionRepoBinding('s')).toBeUndefined();
});

test('settings: each save and patch returns its transaction id', async () => {
  const own = ownProfile();
  const { withTxid, ...plain } = forProfile(own, { jwtSecret }).uiSettings;
  const saved = await withTxid.saveUiSettings(own, { a: 1 });
  const same = await withTxid.saveUiSettings(own, { a: 1 }, { expectedRevision: 1 });
  expect(same.record).toEqual({ a: 1 });
  const patched = await withTxid.patchUiSettings(own, { b: 2 });
  expect(patched.record).toEqual(await plain.loadUiSettingsWithRevision(own));
  expect(patched.record).toMatchObject({ settings: { a: 1, b: 2 }, revision: 3 });
  expectDifferentTransactions([saved, same, patched]);
});

test('decisions: each returns its transaction id', async () => {
  const { withTxid, listHookifyDecisions } = ownModules().hookifyDecisions;
  const input = { sessionId: 's', source: 'manual', severity: 'low' } as const;
  const content = { blocked: false, rules: [], content: 'c' };
  const outcomes = [
    await withTxid.recordHookifyDecision({ ...input, ...content }),
    await withTxid.recordHookifyDecision({ ...input, ...content }),
  ];
  expectDifferentTransactions(outcomes);
  expect(await listHookifyDecisions('s')).toEqual(outcomes.map(({ record }) => record));
});

test('a retry that finds the write done returns no transaction id', async () => {
  const proxy = await startProxy((_, number) => (number % 2 ? 'drop response' : 'forward'));
  const { toolEvents, misalignments, sessionRepoBindings } = forProfile(ownProfile(), {
    restUrl: proxy.url,
    jwtSecret,
  });
  const event = { sessionId: 's', toolName: 't', arguments: {} };
  const { record, txid } = await toolEvents.withTxid.insert(event);
  expect(txid).toBeNull();
  const done = await toolEvents.withTxid.updateStatus(record.id, 'failed', { error: 'e' });
  expect(done).toMatchObject({ record: { status: 'failed', error: 'e' }, txid: null });
  const found = await misalignments.withTxid.ingestMisalignmentCandidates('s', [candidate]);
  expect(found).toMatchObject({ records: [candidate], txid: null });
  const id = found.records[0]!.id;
  // The response is lost, the retry is refused, and the read that follows is lost once as well.
  expect(await misalignments.withTxid.updateMisalignmentStatus('s', id, 'dismissed')).toMatchObject(
    {
      record: { status: 'dismissed' },
      previousStatus: 'open',
      txid: null,
    },
  );
  // Setting a binding always writes, so the retry has a transaction id.
  const input = { sessionId: 's', assetPath: 'a', rootDir: '/' };
  expect((await sessionRepoBindings.withTxid.setSessionRepoBinding(input)).txid).toBeGreaterThan(0);
  await proxy.close();
});
