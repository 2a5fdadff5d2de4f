"""Logical replication of app's tables: switched on and off per table, off by default."""
