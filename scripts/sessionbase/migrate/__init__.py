"""The migration runner: roles, numbered migrations and repeatable files."""
