-- What the ledger must know before a provider does. SQLite, WAL, synchronous=OFF: a row survives the process, not the machine's power.
-- Written by the event loop itself; a row goes once its settlement is in the ledger for good.

CREATE TABLE IF NOT EXISTS intents (
    n          INTEGER PRIMARY KEY,
    held       INTEGER NOT NULL,   -- nano-USD that may be spent
    intent     BLOB NOT NULL,      -- RequestRecord, JSON, as known before sending
    settlement BLOB                -- the same, as known afterwards; NULL: not settled yet
);
