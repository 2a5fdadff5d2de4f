// One instance of the app: does what its parent asks, with the package as it is built.
import * as sessionbase from 'sessionbase';

process.on('message', async ({ call, input }) => {
  const [module, name] = call.split('.');
  try {
    process.send({ value: await sessionbase[module][name](...input) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
