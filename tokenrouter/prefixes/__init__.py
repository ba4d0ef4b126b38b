"""What we know about prompts over time, and what we decide from it. So far: a policy without memory."""
