"""Dialects that a client may speak."""
