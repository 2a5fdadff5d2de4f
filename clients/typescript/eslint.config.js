import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist', 'src/generated', 'tests/empty-project'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: { '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }] },
  },
  {
    files: ['tests/**/*.ts'],
    rules: {
      // The matchers of vitest, like expect.any(), have the type any.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      // The modules in memory must have the same asynchronous interface as the client.
      '@typescript-eslint/require-await': 'off',
      // The modules are objects of functions that do not use `this`.
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: { console: true, fetch: true, globalThis: true, process: true, URL: true },
    },
  },
);
