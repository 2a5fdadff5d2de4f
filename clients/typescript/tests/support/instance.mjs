// One instance of the app: does what its parent asks, with the package as it is built.
import * as sessionkeep from 'sessionkeep';

process.on('message', async ({ call, input }) => {
  const [module, name] = call.split('.');
  try {
    process.send({ value: await sessionkeep[module][name](...input) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
