"""The vendors' prompt-cache rules, each as an engine over fingerprints and time. No engine knows a wire format."""
