import { randomUUID } from 'node:crypto';
import { type Connection, sharedConnection } from '../connection.js';
import { omitNullish, type Row, type RowWithOptionalTxid, toIsoTime } from '../rows.js';
import { assertStorable } from '../validation.js';
import { toWithTxid, type WithTxid } from '../withTxid.js';

/** @internal */
export type ToolEventRow = Row<
  'tool_events',
  'thread_id' | 'tool_call_id' | 'error' | 'completed_at' | 'latency_ms'
>;

/** @internal */
declare module '../rows.js' {
  interface FunctionReturns {
    record_tool_event: RowWithOptionalTxid<ToolEventRow>;
    transition_tool_event: RowWithOptionalTxid<ToolEventRow>;
    transition_tool_event_by_call: RowWithOptionalTxid<ToolEventRow>[];
  }
}

export type ChatToolEventStatus = 'pending' | 'executing' | 'succeeded' | 'failed';

/** A timeline event that a tool looked at. */
export interface ToolContextEvent {
  eventIndex: number;
  displayIndex: number;
  eventId?: string | null;
  eventType: string;
  summary: string;
}

/** One run of a tool. */
export interface ChatToolEvent {
  id: string;
  sessionId: string;
  threadId?: string;
  toolCallId?: string;
  toolName: string;
  status: ChatToolEventStatus;
  arguments: unknown;
  result?: unknown;
  error?: string;
  contextEvents?: ToolContextEvent[];
  startedAt: string;
  completedAt?: string;
  latencyMs?: number;
}

/** A new event. */
export interface ChatToolEventInput {
  /** Created by the client if it is left out, so that the call is safe to repeat. */
  id?: string;
  sessionId: string;
  threadId?: string | null;
  toolCallId?: string | null;
  toolName: string;
  arguments: unknown;
  contextEvents?: ToolContextEvent[];
  status?: 'pending' | 'executing';
}

/** What to store together with a new status. */
export interface ChatToolEventUpdates {
  result?: unknown;
  error?: string;
  /** Replaces the stored context events; if left out, they are kept. */
  contextEvents?: ToolContextEvent[];
}

type MaybeWritten = WithTxid<ChatToolEvent, number | null>;

/** The tool events of one profile. */
export interface ChatToolEventRepository {
  /** List the events of a session, oldest first. */
  listBySession: (sessionId: string) => Promise<ChatToolEvent[]>;

  /** Record that a tool has started. */
  insert: (input: ChatToolEventInput) => Promise<ChatToolEvent>;

  /**
   * Set the status of an event. An unknown id throws `Tool event <id> not found`. Finishing a finished
   * event again with the same status changes nothing and returns the stored event.
   */
  updateStatus: (
    id: string,
    status: ChatToolEventStatus,
    updates?: ChatToolEventUpdates,
  ) => Promise<ChatToolEvent>;

  /**
   * Set the status by the model provider's tool call id: of the newest unfinished event with this id,
   * otherwise of the newest. Returns null if there is none. The call is not retried if the server may
   * have executed it: a second execution could finish an older unfinished event with the same call id. It
   * then throws an error with the outcome `unknown`.
   */
  updateStatusByToolCall: (
    toolCallId: string,
    status: ChatToolEventStatus,
    updates?: ChatToolEventUpdates,
  ) => Promise<ChatToolEvent | null>;

  /**
   * The same writes, with the transaction id, for a collection that waits for its replication stream.
   * `txid` is null if nothing was written, because the event was already recorded or finished.
   */
  withTxid: {
    insert: (input: ChatToolEventInput) => Promise<MaybeWritten>;
    updateStatus: (
      id: string,
      status: ChatToolEventStatus,
      updates?: ChatToolEventUpdates,
    ) => Promise<MaybeWritten>;
    updateStatusByToolCall: (
      toolCallId: string,
      status: ChatToolEventStatus,
      updates?: ChatToolEventUpdates,
    ) => Promise<MaybeWritten | null>;
  };
}

/** @internal */
export function bindToolEvents(connection: Connection): ChatToolEventRepository {
  const withTxid: ChatToolEventRepository['withTxid'] = {
    async insert(input) {
      assertStorable(input);
      const row = await connection.call('record_tool_event', {
        id: input.id ?? `tool_${randomUUID()}`,
        session_id: input.sessionId ?? null,
        thread_id: input.threadId ?? null,
        tool_call_id: input.toolCallId ?? null,
        tool_name: input.toolName ?? null,
        arguments: input.arguments ?? null,
        status: input.status ?? null,
        context_events: input.contextEvents ?? null,
      });
      return toWithTxid(row, toToolEvent);
    },

    async updateStatus(id, status, updates = {}) {
      assertStorable({ id, status, ...updates });
      const row = await connection.call('transition_tool_event', {
        id,
        to_status: status,
        ...updateArguments(updates),
      });
      return toWithTxid(row, toToolEvent);
    },

    async updateStatusByToolCall(toolCallId, status, updates = {}) {
      assertStorable({ toolCallId, status, ...updates });
      const [row] = await connection.call('transition_tool_event_by_call', {
        tool_call_id: toolCallId,
        to_status: status,
        ...updateArguments(updates),
      });
      return row ? toWithTxid(row, toToolEvent) : null;
    },
  };

  return {
    async listBySession(sessionId) {
      assertStorable({ sessionId });
      const rows = await connection.list<ToolEventRow>('tool_events', ['started_at', 'id'], {
        session_id: sessionId,
      });
      return rows.map(toToolEvent);
    },
    insert: async (input) => (await withTxid.insert(input)).record,
    updateStatus: async (...args) => (await withTxid.updateStatus(...args)).record,
    updateStatusByToolCall: async (...args) =>
      (await withTxid.updateStatusByToolCall(...args))?.record ?? null,
    withTxid,
  };
}

/** @internal */
export function toToolEvent(row: ToolEventRow): ChatToolEvent {
  return {
    id: row.id,
    sessionId: row.session_id,
    toolName: row.tool_name,
    status: row.status as ChatToolEventStatus,
    arguments: row.arguments,
    startedAt: toIsoTime(row.started_at),
    ...omitNullish({
      threadId: row.thread_id,
      toolCallId: row.tool_call_id,
      result: row.result,
      error: row.error,
      contextEvents: row.context_events as ToolContextEvent[] | null,
      completedAt: row.completed_at && toIsoTime(row.completed_at),
      latencyMs: row.latency_ms,
    }),
  };
}

function updateArguments(updates: ChatToolEventUpdates) {
  return {
    result: updates.result ?? null,
    error: updates.error ?? null,
    context_events: updates.contextEvents ?? null,
  };
}

/** Return the repository of the configured profile. */
export function getChatToolEventRepository(): ChatToolEventRepository {
  return bindToolEvents(sharedConnection());
}

/** List the events of a session, oldest first. */
export async function listChatToolEvents(sessionId: string): Promise<ChatToolEvent[]> {
  return getChatToolEventRepository().listBySession(sessionId);
}

/** Record that a tool has started. */
export async function insertChatToolEvent(input: ChatToolEventInput): Promise<ChatToolEvent> {
  return getChatToolEventRepository().insert(input);
}

/** Set the status of an event. An unknown id throws `Tool event <id> not found`. */
export async function updateChatToolEventStatus(
  id: string,
  status: ChatToolEventStatus,
  updates?: ChatToolEventUpdates,
): Promise<ChatToolEvent> {
  return getChatToolEventRepository().updateStatus(id, status, updates);
}
