import { ALL_WITH_TXID, type Connection, sharedConnection } from '../connection.js';
import { afterEarlierRequest, SessionbaseError } from '../errors.js';
import { omitNullish, type Row, type RowWithOptionalTxid, toIsoTime } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

/** @internal */
export type MisalignmentRow = Row<'misalignments', 'previous_status'>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    ingest_misalignments: RowWithOptionalTxid<MisalignmentRow>[];
    transition_misalignment: RowWithOptionalTxid<MisalignmentRow>;
  }
}

export type MisalignmentSeverity = 'info' | 'low' | 'medium' | 'high' | 'critical';
export type MisalignmentStatus = 'open' | 'acknowledged' | 'dismissed';

/** A range of the timeline; `startAt` and `endAt` may be empty strings. */
export interface MisalignmentEventRange {
  startIndex: number;
  endIndex: number;
  startAt: string;
  endAt: string;
}

/** An event that shows the misalignment. */
export interface MisalignmentEvidence {
  message: string;
  eventIndex?: number | null;
  eventId?: string | null;
  highlight?: string | null;
}

/** A place where a session did not follow a rule. */
export interface MisalignmentRecord {
  id: string;
  sessionId: string;
  ruleId: string;
  title: string;
  summary: string;
  severity: MisalignmentSeverity;
  status: MisalignmentStatus;
  eventRange?: MisalignmentEventRange;
  evidence: MisalignmentEvidence[];
  createdAt: string;
  updatedAt: string;
}

/** A misalignment that a detector found. A record can be passed too; its session id and times are ignored. */
export interface MisalignmentCandidate {
  /** Default: `mis-<sessionId>-<ruleId>`. */
  id?: string;
  ruleId: string;
  title: string;
  summary: string;
  severity?: MisalignmentSeverity;
  /** Used only if the misalignment is new; a stored one keeps its status. */
  status?: MisalignmentStatus;
  eventRange?: MisalignmentEventRange;
  evidence?: MisalignmentEvidence[];
}

/** The server accepts at most this many candidates in one call. */
const BATCH_SIZE = 500;

/** @internal */
export function bindMisalignments(connection: Connection) {
  async function ingest(
    sessionId: string,
    candidates: readonly MisalignmentCandidate[],
  ): Promise<{ records: MisalignmentRecord[]; txid: number | null }> {
    assertStorable({ sessionId, candidates });
    const records: MisalignmentRecord[] = [];
    // With several calls, the last transaction that wrote something: a stream reports them in order.
    let txid: number | null = null;
    // At least one call, so that an invalid session id is an error even with an empty list.
    for (let start = 0; start === 0 || start < candidates.length; start += BATCH_SIZE) {
      const rows = await connection
        .call('ingest_misalignments', {
          session_id: sessionId ?? null,
          candidates: candidates.slice(start, start + BATCH_SIZE).map(toCandidateRow),
        })
        .catch((error: unknown) => {
          throw start === 0 ? error : afterEarlierRequest(withAbsoluteIndex(error, start));
        });
      for (const row of rows) {
        const written = toWithTxid(row, toMisalignment);
        records.push(written.record);
        txid = written.txid ?? txid;
      }
    }
    return { records, txid };
  }

  async function upsert(
    record: MisalignmentCandidate & { sessionId: string },
  ): Promise<WithTxid<MisalignmentRecord, number | null>> {
    const { records, txid } = await ingest(record.sessionId, [record]);
    return { record: records[0] as MisalignmentRecord, txid };
  }

  async function updateStatus(
    sessionId: string,
    id: string,
    nextStatus: MisalignmentStatus,
  ): Promise<WithTxid<MisalignmentRecord, number | null> & { previousStatus: MisalignmentStatus }> {
    assertStorable({ sessionId, id, nextStatus });
    const row = await connection.call(
      'transition_misalignment',
      { session_id: sessionId, id, to_status: nextStatus },
      {
        // The stored status is the wanted one: the attempt whose response was lost has set it.
        async recover(error) {
          const { from, to } = (error.details ?? {}) as { from?: unknown; to?: unknown };
          if (error.code !== 'illegal_transition' || from !== to) return undefined;
          const [stored] = await connection.read<RowWithOptionalTxid<MisalignmentRow>[]>((client) =>
            client
              .from('misalignments')
              .select(ALL_WITH_TXID)
              .eq('session_id', sessionId)
              .eq('id', id),
          );
          return stored;
        },
      },
    );
    return {
      ...toWithTxid(row, toMisalignment),
      previousStatus: row.previous_status as MisalignmentStatus,
    };
  }

  return {
    /** List the misalignments of a session, oldest first. */
    async listMisalignments(sessionId: string): Promise<MisalignmentRecord[]> {
      assertStorable({ sessionId });
      const rows = await connection.list<MisalignmentRow>('misalignments', ['created_at', 'id'], {
        session_id: sessionId,
      });
      return rows.map(toMisalignment);
    },

    /** Store a misalignment. If it is stored already, its content is updated and its status is kept. */
    async upsertMisalignment(
      record: MisalignmentCandidate & { sessionId: string },
    ): Promise<MisalignmentRecord> {
      return (await upsert(record)).record;
    },

    /**
     * Store the misalignments that a detector found, in batches of 500; each batch is stored completely
     * or not at all. Stored misalignments are updated and keep their status.
     */
    async ingestMisalignmentCandidates(
      sessionId: string,
      candidates: readonly MisalignmentCandidate[],
    ): Promise<MisalignmentRecord[]> {
      return (await ingest(sessionId, candidates)).records;
    },

    /**
     * Acknowledge, dismiss or re-open a misalignment. If the response of the first attempt was lost and
     * the retry finds the new status, the call succeeds.
     */
    async updateMisalignmentStatus(
      sessionId: string,
      id: string,
      nextStatus: MisalignmentStatus,
    ): Promise<{ record: MisalignmentRecord; previousStatus: MisalignmentStatus }> {
      const { record, previousStatus } = await updateStatus(sessionId, id, nextStatus);
      return { record, previousStatus };
    },

    /**
     * The same writes, with the transaction id, for a collection that waits for its replication stream.
     * With more than 500 candidates, `txid` is the last transaction that wrote something. It is null if
     * nothing was written, because everything was stored already.
     */
    withTxid: {
      upsertMisalignment: upsert,
      ingestMisalignmentCandidates: ingest,
      updateMisalignmentStatus: updateStatus,
    },
  };
}

/** @internal */
export function toMisalignment(row: MisalignmentRow): MisalignmentRecord {
  return {
    id: row.id,
    sessionId: row.session_id,
    ruleId: row.rule_id,
    title: row.title,
    summary: row.summary,
    severity: row.severity as MisalignmentSeverity,
    status: row.status as MisalignmentStatus,
    evidence: row.evidence as MisalignmentEvidence[],
    createdAt: toIsoTime(row.created_at),
    updatedAt: toIsoTime(row.updated_at),
    ...omitNullish({ eventRange: row.event_range as MisalignmentEventRange | null }),
  };
}

/** The server reports the index within its batch; change it to the index in the whole list. */
function withAbsoluteIndex(error: unknown, start: number): unknown {
  if (!(error instanceof SessionbaseError)) return error;
  const details = error.details as { index?: unknown } | null;
  if (typeof details?.index !== 'number') return error;
  const index = start + details.index;
  const message = error.message.replace(/^Candidate \d+/, `Candidate ${index}`);
  return new SessionbaseError(message, { ...error, details: { ...details, index }, cause: error });
}

/** Convert a candidate to the column names of the view. */
function toCandidateRow(candidate: MisalignmentCandidate): Partial<MisalignmentRow> {
  return omitNullish({
    id: candidate.id,
    rule_id: candidate.ruleId,
    title: candidate.title,
    summary: candidate.summary,
    severity: candidate.severity,
    status: candidate.status,
    event_range: candidate.eventRange,
    evidence: candidate.evidence,
  });
}

/** List the misalignments of a session, oldest first. */
export async function listMisalignments(sessionId: string): Promise<MisalignmentRecord[]> {
  return bindMisalignments(sharedConnection()).listMisalignments(sessionId);
}

/** Store a misalignment. If it is stored already, its content is updated and its status is kept. */
export async function upsertMisalignment(
  record: MisalignmentCandidate & { sessionId: string },
): Promise<MisalignmentRecord> {
  return bindMisalignments(sharedConnection()).upsertMisalignment(record);
}

/** Store the misalignments that a detector found. Stored ones are updated and keep their status. */
export async function ingestMisalignmentCandidates(
  sessionId: string,
  candidates: readonly MisalignmentCandidate[],
): Promise<MisalignmentRecord[]> {
  return bindMisalignments(sharedConnection()).ingestMisalignmentCandidates(sessionId, candidates);
}

/** Acknowledge, dismiss or re-open a misalignment. */
export async function updateMisalignmentStatus(
  sessionId: string,
  id: string,
  nextStatus: MisalignmentStatus,
): Promise<{ record: MisalignmentRecord; previousStatus: MisalignmentStatus }> {
  return bindMisalignments(sharedConnection()).updateMisalignmentStatus(sessionId, id, nextStatus);
}
