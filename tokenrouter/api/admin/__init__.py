"""The admin API: tenants, keys, customers, rules, prices, usage, the ledger, kept answers, health, the audit.

Behind the admin key, whatever it is asked; its calls are never budgeted or limited, and go on while a tenant's money is spent.
Every change leaves an audit row. Errors are problem details (RFC 9457). `Idempotency-Key` makes a change safe to repeat.
"""
