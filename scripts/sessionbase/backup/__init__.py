"""Back up a database of sessionbase to a folder, and restore it from there."""
