"""List, export, import and erase the data of a profile."""
