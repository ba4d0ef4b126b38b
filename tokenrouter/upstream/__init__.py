"""Providers, reached: how bytes go up and come down, and what can go wrong on the way."""
