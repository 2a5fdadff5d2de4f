"""What the process that serves Swagger UI runs and serves."""
