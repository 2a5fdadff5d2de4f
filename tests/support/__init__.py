"""What several tests use: fixtures, helpers and the pgTAP functions."""
