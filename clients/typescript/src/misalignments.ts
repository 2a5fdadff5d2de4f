import { sharedConnection } from './connection.js';
import {
  misalignment,
  type MisalignmentCandidate,
  type MisalignmentRecord,
  type MisalignmentStatus,
} from './domains/misalignment.js';

export type {
  MisalignmentCandidate,
  MisalignmentEventRange,
  MisalignmentEvidence,
  MisalignmentRecord,
  MisalignmentSeverity,
  MisalignmentStatus,
} from './domains/misalignment.js';

/** The misalignments of a session, oldest first. */
export async function listMisalignments(sessionId: string): Promise<MisalignmentRecord[]> {
  return misalignment(sharedConnection()).listMisalignments(sessionId);
}

/** Store a new one, or refresh what was found of a known one; its status stays as it is. */
export async function upsertMisalignment(
  record: MisalignmentCandidate & { sessionId: string },
): Promise<MisalignmentRecord> {
  return misalignment(sharedConnection()).upsertMisalignment(record);
}

/** Take in what a detector found; known ones are refreshed and keep their status. */
export async function ingestMisalignmentCandidates(
  sessionId: string,
  candidates: readonly MisalignmentCandidate[],
): Promise<MisalignmentRecord[]> {
  return misalignment(sharedConnection()).ingestMisalignmentCandidates(sessionId, candidates);
}

/** Acknowledge, dismiss or re-open one. */
export async function updateMisalignmentStatus(
  sessionId: string,
  id: string,
  nextStatus: MisalignmentStatus,
): Promise<{ record: MisalignmentRecord; previousStatus: MisalignmentStatus }> {
  return misalignment(sharedConnection()).updateMisalignmentStatus(sessionId, id, nextStatus);
}
