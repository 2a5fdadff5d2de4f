/**
 * The record of a write, with the id of the transaction that wrote it, as a replication stream reports
 * it. Where `Txid` allows null, the call may have written nothing, because an earlier call (or an
 * attempt whose response was lost) had already done it. Do not wait for a transaction then.
 */
export interface WithTxid<Item, Txid extends number | null = number> {
  record: Item;
  txid: Txid;
}

/** The database returns the id as a string; null stays null. */
type TxidNumber<Text extends string | null> = Text extends string ? number : null;

/** Convert a row that was selected with `ALL_WITH_TXID` into the app's record and the transaction id. */
export function toWithTxid<Row extends { txid: string | null }, Item>(
  row: Row,
  toRecord: (row: Row) => Item,
): WithTxid<Item, TxidNumber<Row['txid']>> {
  const txid = row.txid === null ? null : Number(row.txid);
  return { record: toRecord(row), txid: txid as TxidNumber<Row['txid']> };
}
