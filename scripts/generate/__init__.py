"""Generates the files that are made from the code or from a running stack. For developers."""
