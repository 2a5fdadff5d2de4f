"""Show before a migration runs what it will lock, rewrite and scan; try it on a copy."""
