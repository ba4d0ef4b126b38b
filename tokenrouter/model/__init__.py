"""The vocabulary: frozen values and nothing else. Imports the standard library and msgspec only."""
