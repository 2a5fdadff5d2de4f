"""Import from and export to the app's legacy JSON files."""
