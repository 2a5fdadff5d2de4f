// An instance of the app: runs the calls that its parent process sends, with the built package.
import * as sessionbase from 'sessionbase';

process.on('message', async ({ call, input }) => {
  const [module, name] = call.split('.');
  try {
    process.send({ value: await sessionbase[module][name](...input) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
