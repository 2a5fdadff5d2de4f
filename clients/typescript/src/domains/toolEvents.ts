import { randomUUID } from 'node:crypto';
import { type Connection, WRITTEN } from '../connection.js';
import { isoTime, only, present, type ToolEventRow } from '../rows.js';
import { requireStorable } from '../storable.js';
import { type WithTxid, withTxid } from '../withTxid.js';

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

/** What an event is recorded with. */
export interface ChatToolEventInput {
  /** Made here where none is given, so that the call is safe to repeat. */
  id?: string;
  sessionId: string;
  threadId?: string | null;
  toolCallId?: string | null;
  toolName: string;
  arguments: unknown;
  contextEvents?: ToolContextEvent[];
  status?: 'pending' | 'executing';
}

/** What a change of status carries. */
export interface ChatToolEventUpdates {
  result?: unknown;
  error?: string;
  /** Replace the stored ones; without any, those stay. */
  contextEvents?: ToolContextEvent[];
}

type Outcome = WithTxid<ChatToolEvent, number | null>;

export function toolEvents(connection: Connection) {
  async function insert(input: ChatToolEventInput): Promise<Outcome> {
    requireStorable(input);
    const row = await connection.call(
      'record_tool_event',
      {
        id: input.id ?? `tool_${randomUUID()}`,
        session_id: input.sessionId ?? null,
        thread_id: input.threadId ?? null,
        tool_call_id: input.toolCallId ?? null,
        tool_name: input.toolName ?? null,
        arguments: input.arguments ?? null,
        status: input.status ?? null,
        context_events: input.contextEvents ?? null,
      },
      { select: WRITTEN, repeatable: true },
    );
    return withTxid(row, toolEvent);
  }

  async function updateStatus(
    id: string,
    status: ChatToolEventStatus,
    updates: ChatToolEventUpdates = {},
  ): Promise<Outcome> {
    requireStorable({ id, status, ...updates });
    const row = await connection.call(
      'transition_tool_event',
      { id, to_status: status, ...changes(updates) },
      { select: WRITTEN, repeatable: true },
    );
    return withTxid(row, toolEvent);
  }

  async function updateStatusByToolCall(
    toolCallId: string,
    status: ChatToolEventStatus,
    updates: ChatToolEventUpdates = {},
  ): Promise<Outcome | null> {
    requireStorable({ toolCallId, status, ...updates });
    const rows = await connection.call(
      'transition_tool_event_by_call',
      { tool_call_id: toolCallId, to_status: status, ...changes(updates) },
      // A second time could finish another event: an older, unfinished one with the same call.
      { select: WRITTEN, repeatable: false },
    );
    const row = only(rows);
    return row ? withTxid(row, toolEvent) : null;
  }

  return {
    /** The events of a session, oldest first. */
    async listBySession(sessionId: string): Promise<ChatToolEvent[]> {
      requireStorable({ sessionId });
      const rows = await connection.list<ToolEventRow, 'started_at' | 'id'>(
        ['started_at', 'id'],
        (client, page) => {
          const query = client.from('tool_events').select().eq('session_id', sessionId);
          return (page.after ? query.or(page.after) : query)
            .order('started_at')
            .order('id')
            .limit(page.size);
        },
      );
      return rows.map(toolEvent);
    },

    /** Record that a tool has started. */
    async insert(input: ChatToolEventInput): Promise<ChatToolEvent> {
      return (await insert(input)).record;
    },

    /**
     * Move an event to another status. `Tool event <id> not found` for an unknown one; finishing it
     * again with the same status changes nothing and gives the stored event.
     */
    async updateStatus(
      id: string,
      status: ChatToolEventStatus,
      updates?: ChatToolEventUpdates,
    ): Promise<ChatToolEvent> {
      return (await updateStatus(id, status, updates)).record;
    },

    /**
     * The same by the model provider's id of the call: the newest unfinished event with it, else the
     * newest. Null where there is none. It is not repeated once it may have been carried out: then the
     * error is `unreachable`, and a list tells what is stored.
     */
    async updateStatusByToolCall(
      toolCallId: string,
      status: ChatToolEventStatus,
      updates?: ChatToolEventUpdates,
    ): Promise<ChatToolEvent | null> {
      return (await updateStatusByToolCall(toolCallId, status, updates))?.record ?? null;
    },

    /**
     * The writes again, with the transaction's id, for a collection that waits for its stream. It is
     * null where the event was recorded, or had finished so, before: nothing was written.
     */
    withTxid: { insert, updateStatus, updateStatusByToolCall },
  };
}

/** Change a row into the app's record. */
export function toolEvent(row: ToolEventRow): ChatToolEvent {
  return {
    id: row.id,
    sessionId: row.session_id,
    toolName: row.tool_name,
    status: row.status as ChatToolEventStatus,
    arguments: row.arguments,
    startedAt: isoTime(row.started_at),
    ...present({
      threadId: row.thread_id,
      toolCallId: row.tool_call_id,
      result: row.result,
      error: row.error,
      contextEvents: row.context_events as ToolContextEvent[] | null,
      completedAt: row.completed_at && isoTime(row.completed_at),
      latencyMs: row.latency_ms,
    }),
  };
}

function changes(updates: ChatToolEventUpdates) {
  return {
    result: updates.result ?? null,
    error: updates.error ?? null,
    context_events: updates.contextEvents ?? null,
  };
}
