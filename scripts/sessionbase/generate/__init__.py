"""The documents that are made from the code or from a live stack, and never written by hand."""
