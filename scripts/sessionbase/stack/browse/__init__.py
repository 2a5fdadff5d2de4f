"""The process that serves Swagger UI, and its files."""
