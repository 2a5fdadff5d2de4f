"""Fixtures, helpers and pgTAP functions that several tests use."""
