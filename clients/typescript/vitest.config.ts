import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    testTimeout: 60_000,
    // A hook stops or starts a stack, which takes long on a busy machine.
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
