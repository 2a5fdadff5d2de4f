import { configure, forProfile, SessionkeepError } from 'sessionkeep';
import { insertChatToolEvent, listChatToolEvents } from 'sessionkeep/chatToolEvents';
import { listHookifyDecisions } from 'sessionkeep/hookifyDecisions';
import { listMisalignments } from 'sessionkeep/misalignments';
import { sessionContext } from 'sessionkeep/sessionContext';
import { listSessionRepoBindings } from 'sessionkeep/sessionRepoBindings';
import { addTodo, listTodos, toggleTodoRecord, type Todo } from 'sessionkeep/todosStore';
import { loadUiSettings, saveUiSettings } from 'sessionkeep/uiSettingsStore';

interface Settings {
  lastSessionPath: string | null;
}

configure({ timeoutMs: 5000 });
const todo: Todo = await addTodo('runs');
const settings: Settings = await saveUiSettings<Settings>('empty-project', {
  lastSessionPath: '/',
});
await insertChatToolEvent({ sessionId: 's', toolName: 't', arguments: {} });
const refused = await toggleTodoRecord('none').catch((error: unknown) => error);

console.log(
  JSON.stringify({
    todos: (await listTodos()).map(({ text, id }) => [text, id === todo.id]),
    events: (await listChatToolEvents('s')).length,
    others: [
      await listHookifyDecisions('s'),
      await listMisalignments('s'),
      await listSessionRepoBindings(),
      await forProfile('another-empty-project').uiSettingsStore.loadUiSettings(
        'another-empty-project',
      ),
    ],
    settings: [settings, await loadUiSettings<Settings>('empty-project')],
    executing: (await sessionContext('s')).counts.toolEvents.executing,
    refused: refused instanceof SessionkeepError && refused.message,
  }),
);
