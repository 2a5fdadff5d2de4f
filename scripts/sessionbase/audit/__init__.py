"""Verify the hash chains of hookify decisions, alone and against a signed checkpoint."""
