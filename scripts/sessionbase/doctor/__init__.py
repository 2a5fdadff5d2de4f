"""`sessionbase doctor`: checks of a database's roles, rights, policies and objects."""
