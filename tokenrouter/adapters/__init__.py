"""The only place in the code, beside the sandbox, where a vendor's name may appear."""
