"""Who may spend what: admission, settlement, and the ledger's interface."""
