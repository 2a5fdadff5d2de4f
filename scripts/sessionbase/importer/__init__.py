"""The importer of the app's legacy JSON files."""
