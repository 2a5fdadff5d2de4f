/**
 * A write's outcome with the transaction that made it, as a replication stream names it. Where `Txid`
 * allows null, the write may have changed nothing: it, or an attempt of it whose answer was lost, had
 * been carried out before. Then no transaction of its own will come; do not wait for one.
 */
export interface WithTxid<Outcome, Txid extends number | null = number> {
  record: Outcome;
  txid: Txid;
}

/** The number of a transaction that the database names in a text. */
type NumberOf<Text extends string | null> = Text extends string ? number : null;

/** Split a row that `WRITTEN` asked for into the app's record and the transaction's number. */
export function withTxid<Row extends { txid: string | null }, Outcome>(
  row: Row,
  record: (row: Row) => Outcome,
): WithTxid<Outcome, NumberOf<Row['txid']>> {
  const txid = row.txid === null ? null : Number(row.txid);
  return { record: record(row), txid: txid as NumberOf<Row['txid']> };
}
