"""Figures about a running database: sizes, growth, slow statements, replication, health."""
