"""The embedded stack: PostgreSQL and PostgREST as ordinary processes of this machine."""
