"""What we know about prompts over time, and what we decide from it."""
