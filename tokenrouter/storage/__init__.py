"""Stores behind the rooms' interfaces. Embedded: SQLite and memory, for one process."""
