-- How a tenant's prompts are treated, who saved what at the providers' prompt caches, which conversation a request belongs to, and what broke its prefix.

ALTER TABLE tenants ADD COLUMN prompt_cache TEXT NOT NULL DEFAULT '{}';

ALTER TABLE ledger ADD COLUMN saved_by_client bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN saved_by_gateway bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN session text NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN cache_break text NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN cache_break_cost bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN unreported_input bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN read_across_sessions bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN read_across_users bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN saved_by_client bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN saved_by_gateway bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN cache_break_cost bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN unreported_input bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN read_across_sessions bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_days ADD COLUMN read_across_users bigint NOT NULL DEFAULT 0;

CREATE INDEX ledger_by_session ON ledger (session, admitted_ns, id) WHERE session <> '';
CREATE INDEX ledger_by_break ON ledger (admitted_ns, id) WHERE cache_break <> '';
