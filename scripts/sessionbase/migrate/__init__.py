"""The migration runner: roles, numbered migrations, and the living schema `api`."""
