"""Drift: the differences between a database and the SQL files that were applied to it."""
