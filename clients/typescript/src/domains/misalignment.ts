import { type Connection, WRITTEN } from '../connection.js';
import { SessionbaseError } from '../errors.js';
import { isoTime, type MisalignmentRow, only, present, type Repeated } from '../rows.js';
import { requireStorable } from '../storable.js';
import { type WithTxid, withTxid } from '../withTxid.js';

export type MisalignmentSeverity = 'info' | 'low' | 'medium' | 'high' | 'critical';
export type MisalignmentStatus = 'open' | 'acknowledged' | 'dismissed';

/** Where in the timeline; `startAt` and `endAt` may be empty. */
export interface MisalignmentEventRange {
  startIndex: number;
  endIndex: number;
  startAt: string;
  endAt: string;
}

/** What shows it. */
export interface MisalignmentEvidence {
  message: string;
  eventIndex?: number | null;
  eventId?: string | null;
  highlight?: string | null;
}

/** Where a session departed from a rule. */
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

/** What a detector found; the session's id and times in a record are not used. */
export interface MisalignmentCandidate {
  /** `mis-<sessionId>-<ruleId>` where none is given. */
  id?: string;
  ruleId: string;
  title: string;
  summary: string;
  severity?: MisalignmentSeverity;
  /** Counts for a new one only: what is known keeps its status. */
  status?: MisalignmentStatus;
  eventRange?: MisalignmentEventRange;
  evidence?: MisalignmentEvidence[];
}

/** How many candidates the server takes in one call. */
const BATCH = 500;

export function misalignment(connection: Connection) {
  async function ingest(
    sessionId: string,
    candidates: readonly MisalignmentCandidate[],
  ): Promise<{ records: MisalignmentRecord[]; txid: number | null }> {
    requireStorable({ sessionId, candidates });
    const records: MisalignmentRecord[] = [];
    // Of several calls the last that wrote something: a stream names transactions in their order.
    let txid: number | null = null;
    // At least one call, so that a wrong session id is refused with an empty list too.
    for (let start = 0; start === 0 || start < candidates.length; start += BATCH) {
      const rows = await connection
        .call(
          'ingest_misalignments',
          {
            session_id: sessionId ?? null,
            candidates: candidates.slice(start, start + BATCH).map(candidateRow),
          },
          { select: WRITTEN, repeatable: true },
        )
        .catch((error: unknown) => {
          throw countedFrom(start, error);
        });
      for (const row of rows) {
        const written = withTxid(row, misalignmentRecord);
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
    return { record: only(records) as MisalignmentRecord, txid };
  }

  async function updateStatus(
    sessionId: string,
    id: string,
    nextStatus: MisalignmentStatus,
  ): Promise<WithTxid<MisalignmentRecord, number | null> & { previousStatus: MisalignmentStatus }> {
    requireStorable({ sessionId, id, nextStatus });
    const row = await connection.call(
      'transition_misalignment',
      { session_id: sessionId, id, to_status: nextStatus },
      {
        select: WRITTEN,
        repeatable: true,
        async recover(error) {
          const { from, to } = (error.details ?? {}) as { from?: unknown; to?: unknown };
          if (error.code !== 'illegal_transition' || from !== to) return undefined;
          return only(
            await connection.send<Repeated<MisalignmentRow>[]>(
              (client) =>
                client
                  .from('misalignments')
                  .select(WRITTEN)
                  .eq('session_id', sessionId)
                  .eq('id', id),
              { repeatable: true },
            ),
          );
        },
      },
    );
    return {
      ...withTxid(row, misalignmentRecord),
      previousStatus: row.previous_status as MisalignmentStatus,
    };
  }

  return {
    /** The misalignments of a session, oldest first. */
    async listMisalignments(sessionId: string): Promise<MisalignmentRecord[]> {
      requireStorable({ sessionId });
      const rows = await connection.list<MisalignmentRow, 'created_at' | 'id'>(
        ['created_at', 'id'],
        (client, page) => {
          const query = client.from('misalignments').select().eq('session_id', sessionId);
          return (page.after ? query.or(page.after) : query)
            .order('created_at')
            .order('id')
            .limit(page.size);
        },
      );
      return rows.map(misalignmentRecord);
    },

    /** Store a new one, or refresh what was found of a known one; its status stays as it is. */
    async upsertMisalignment(
      record: MisalignmentCandidate & { sessionId: string },
    ): Promise<MisalignmentRecord> {
      return (await upsert(record)).record;
    },

    /**
     * Take in what a detector found: of each batch of 500 all, or nothing. New ones are stored with
     * their status; known ones are refreshed and keep theirs.
     */
    async ingestMisalignmentCandidates(
      sessionId: string,
      candidates: readonly MisalignmentCandidate[],
    ): Promise<MisalignmentRecord[]> {
      return (await ingest(sessionId, candidates)).records;
    },

    /**
     * Acknowledge, dismiss or re-open one. Where the connection failed after the server had done it,
     * the repetition finds the wanted status, and that counts as done.
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
     * The writes again, with the transaction's id, for a collection that waits for its stream; of
     * more than 500 candidates the last one's. It is null where all was stored so before: nothing
     * was written.
     */
    withTxid: {
      upsertMisalignment: upsert,
      ingestMisalignmentCandidates: ingest,
      updateMisalignmentStatus: updateStatus,
    },
  };
}

/** Change a row into the app's record. */
export function misalignmentRecord(row: MisalignmentRow): MisalignmentRecord {
  return {
    id: row.id,
    sessionId: row.session_id,
    ruleId: row.rule_id,
    title: row.title,
    summary: row.summary,
    severity: row.severity as MisalignmentSeverity,
    status: row.status as MisalignmentStatus,
    evidence: row.evidence as MisalignmentEvidence[],
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
    ...present({ eventRange: row.event_range as MisalignmentEventRange | null }),
  };
}

/** The server counts candidates in its call; the caller counts them in all. */
function countedFrom(start: number, error: unknown): unknown {
  if (start === 0 || !(error instanceof SessionbaseError)) return error;
  const details = error.details as { index?: unknown } | null;
  if (typeof details?.index !== 'number') return error;
  const index = start + details.index;
  const message = error.message.replace(/^Candidate \d+/, `Candidate ${index}`);
  return new SessionbaseError(message, { ...error, details: { ...details, index }, cause: error });
}

/** The candidate in the column names of the view. */
function candidateRow(candidate: MisalignmentCandidate): Partial<MisalignmentRow> {
  return present({
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
