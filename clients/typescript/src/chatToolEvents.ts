import { sharedConnection } from './connection.js';
import {
  type ChatToolEvent,
  type ChatToolEventInput,
  type ChatToolEventStatus,
  type ChatToolEventUpdates,
  toolEvents,
} from './domains/toolEvents.js';

export type {
  ChatToolEvent,
  ChatToolEventInput,
  ChatToolEventStatus,
  ChatToolEventUpdates,
  ToolContextEvent,
} from './domains/toolEvents.js';

export type ChatToolEventRepository = ReturnType<typeof toolEvents>;

/** The repository of the configured profile. */
export function getChatToolEventRepository(): ChatToolEventRepository {
  return toolEvents(sharedConnection());
}

/** The events of a session, oldest first. */
export async function listChatToolEvents(sessionId: string): Promise<ChatToolEvent[]> {
  return getChatToolEventRepository().listBySession(sessionId);
}

/** Record that a tool has started. */
export async function insertChatToolEvent(input: ChatToolEventInput): Promise<ChatToolEvent> {
  return getChatToolEventRepository().insert(input);
}

/** Move an event to another status; `Tool event <id> not found` for an unknown one. */
export async function updateChatToolEventStatus(
  id: string,
  status: ChatToolEventStatus,
  updates?: ChatToolEventUpdates,
): Promise<ChatToolEvent> {
  return getChatToolEventRepository().updateStatus(id, status, updates);
}
