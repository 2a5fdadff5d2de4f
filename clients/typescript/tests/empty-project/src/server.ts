import { configure, forProfile, SessionbaseError } from 'sessionbase';
import { insertChatToolEvent, listChatToolEvents } from 'sessionbase/toolEvents';
import { listHookifyDecisions } from 'sessionbase/hookifyDecisions';
import { listMisalignments } from 'sessionbase/misalignments';
import { sessionContext } from 'sessionbase/sessionContext';
import { listSessionRepoBindings } from 'sessionbase/sessionRepoBindings';
import { addTodo, listTodos, toggleTodoRecord, type Todo } from 'sessionbase/todos';
import { loadUiSettings, saveUiSettings } from 'sessionbase/uiSettings';

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
      await forProfile('another-empty-project').uiSettings.loadUiSettings('another-empty-project'),
    ],
    settings: [settings, await loadUiSettings<Settings>('empty-project')],
    executing: (await sessionContext('s')).counts.toolEvents.executing,
    refused: refused instanceof SessionbaseError && refused.message,
  }),
);
