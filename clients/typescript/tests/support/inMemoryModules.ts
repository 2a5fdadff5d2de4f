import { createHash, randomUUID } from 'node:crypto';
import type {
  ChatToolEvent,
  ChatToolEventInput,
  ChatToolEventStatus,
  ChatToolEventUpdates,
} from '../../src/domains/toolEvents.js';
import type { HookifyDecision, HookifyDecisionInput } from '../../src/domains/hookifyDecisions.js';
import type {
  MisalignmentCandidate,
  MisalignmentRecord,
  MisalignmentStatus,
} from '../../src/domains/misalignments.js';
import type { SessionRepoBinding } from '../../src/domains/sessionRepoBindings.js';
import type { Todo } from '../../src/domains/todos.js';

/** The modules of the app before it uses sessionbase. They keep the records in memory, and can lose changes. */
export function inMemoryModules() {
  const events: ChatToolEvent[] = [];
  const decisions: HookifyDecision[] = [];
  const misalignments: MisalignmentRecord[] = [];
  const todos: Todo[] = [];
  const bindings = new Map<string, SessionRepoBinding>();
  const settings = new Map<string, object>();
  const now = () => new Date().toISOString();
  const copy = <Value>(value: Value): Value => JSON.parse(JSON.stringify(value)) as Value;

  function change(
    event: ChatToolEvent,
    status: ChatToolEventStatus,
    updates: ChatToolEventUpdates,
  ) {
    event.status = status;
    if (updates.result !== undefined) event.result = updates.result;
    if (updates.error !== undefined) event.error = updates.error;
    if (updates.contextEvents !== undefined) event.contextEvents = updates.contextEvents;
    if (status === 'succeeded' || status === 'failed') {
      event.completedAt = now();
      event.latencyMs = Date.parse(event.completedAt) - Date.parse(event.startedAt);
    }
    return copy(event);
  }

  const targets: Record<MisalignmentStatus, MisalignmentStatus[]> = {
    open: ['acknowledged', 'dismissed'],
    acknowledged: ['dismissed', 'open'],
    dismissed: ['acknowledged', 'open'],
  };

  function upsert(sessionId: string, candidate: MisalignmentCandidate): MisalignmentRecord {
    const id = candidate.id ?? `mis-${sessionId}-${candidate.ruleId}`;
    const known = misalignments.find(
      (record) => record.id === id && record.sessionId === sessionId,
    );
    const found: MisalignmentRecord = {
      ...candidate,
      id,
      sessionId,
      severity: candidate.severity ?? 'medium',
      status: candidate.status ?? 'open',
      evidence: candidate.evidence ?? [],
      createdAt: known?.createdAt ?? now(),
      updatedAt: now(),
    };
    if (known) Object.assign(known, found);
    else misalignments.push(found);
    return copy(known ?? found);
  }

  return {
    toolEvents: {
      listBySession: async (sessionId: string) =>
        copy(
          events
            .filter((event) => event.sessionId === sessionId)
            .sort((a, b) => a.startedAt.localeCompare(b.startedAt)),
        ),
      async insert(input: ChatToolEventInput): Promise<ChatToolEvent> {
        const { threadId, toolCallId, ...rest } = input;
        const event: ChatToolEvent = copy({
          ...rest,
          ...(threadId ? { threadId } : {}),
          ...(toolCallId ? { toolCallId } : {}),
          id: input.id ?? `tool_${randomUUID()}`,
          status: input.status ?? 'executing',
          startedAt: now(),
        });
        events.push(event);
        return copy(event);
      },
      async updateStatus(
        id: string,
        status: ChatToolEventStatus,
        updates: ChatToolEventUpdates = {},
      ) {
        const event = events.find((candidate) => candidate.id === id);
        if (!event) throw new Error(`Tool event ${id} not found`);
        return change(event, status, copy(updates));
      },
      async updateStatusByToolCall(
        toolCallId: string,
        status: ChatToolEventStatus,
        updates: ChatToolEventUpdates = {},
      ) {
        const event = events.find((candidate) => candidate.toolCallId === toolCallId);
        return event ? change(event, status, copy(updates)) : null;
      },
    },
    hookifyDecisions: {
      async recordHookifyDecision(input: HookifyDecisionInput): Promise<HookifyDecision> {
        const { content, rules, ...rest } = input;
        const decision: HookifyDecision = copy({
          ...rest,
          id: `hook_${randomUUID()}`,
          rules: rules.map(({ id, severity }) => ({ id, severity })),
          contentHash: createHash('sha256').update(content, 'utf8').digest('hex'),
          createdAt: now(),
        });
        decisions.push(decision);
        return copy(decision);
      },
      listHookifyDecisions: async (sessionId: string) =>
        copy(decisions.filter((decision) => decision.sessionId === sessionId)),
    },
    misalignments: {
      listMisalignments: async (sessionId: string) =>
        copy(
          misalignments
            .filter((record) => record.sessionId === sessionId)
            .sort((a, b) => a.createdAt.localeCompare(b.createdAt)),
        ),
      upsertMisalignment: async (record: MisalignmentCandidate & { sessionId: string }) =>
        upsert(record.sessionId, record),
      ingestMisalignmentCandidates: async (
        sessionId: string,
        candidates: readonly MisalignmentCandidate[],
      ) => candidates.map((candidate) => upsert(sessionId, candidate)),
      async updateMisalignmentStatus(sessionId: string, id: string, next: MisalignmentStatus) {
        if (!(next in targets)) throw new Error(`Invalid misalignment status: ${next}`);
        const known = misalignments.find(
          (record) => record.id === id && record.sessionId === sessionId,
        );
        if (!known) throw new Error('Misalignment not found');
        const previousStatus = known.status;
        if (!targets[previousStatus].includes(next)) {
          throw new Error(`Cannot transition misalignment from ${previousStatus} to ${next}`);
        }
        known.status = next;
        known.updatedAt = now();
        return { record: copy(known), previousStatus };
      },
    },
    todos: {
      listTodos: async () => copy(todos),
      async addTodo(text: string): Promise<Todo> {
        const todo = { id: randomUUID(), text, completed: false, createdAt: now() };
        todos.push(todo);
        return copy(todo);
      },
      async toggleTodoRecord(id: string): Promise<Todo> {
        const todo = todos.find((candidate) => candidate.id === id);
        if (!todo) throw new Error('Todo not found');
        todo.completed = !todo.completed;
        return copy(todo);
      },
      async deleteTodoRecord(id: string): Promise<void> {
        const position = todos.findIndex((candidate) => candidate.id === id);
        if (position < 0) throw new Error('Todo not found');
        todos.splice(position, 1);
      },
    },
    sessionRepoBindings: {
      async setSessionRepoBinding(input: Omit<SessionRepoBinding, 'updatedAt'>) {
        const record = { ...input, updatedAt: Date.now() };
        bindings.delete(input.sessionId);
        bindings.set(input.sessionId, record);
        return { ...record };
      },
      getSessionRepoBinding: async (sessionId: string) => bindings.get(sessionId) ?? null,
      async clearSessionRepoBinding(sessionId: string): Promise<void> {
        bindings.delete(sessionId);
      },
      listSessionRepoBindings: async () => copy([...bindings.values()]),
    },
    uiSettings: {
      loadUiSettings: async (profileId: string) => copy(settings.get(profileId) ?? null),
      async saveUiSettings(profileId: string, snapshot: object) {
        settings.set(profileId, copy(snapshot));
        return copy(snapshot);
      },
    },
  };
}

export type InMemoryModules = ReturnType<typeof inMemoryModules>;
