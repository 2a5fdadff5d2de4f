"""`sessionbase doctor`: what is wrong with a database's roles, grants, policies and objects."""
