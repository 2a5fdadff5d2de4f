"""The exporter to the app's legacy JSON files."""
