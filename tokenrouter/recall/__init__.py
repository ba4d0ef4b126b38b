"""Answers that we already have, or are already fetching."""
