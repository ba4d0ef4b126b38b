-- The form in which conversations with bound reasoning went up on their first turn.
CREATE TABLE pinned_forms (
    tenant     text NOT NULL,
    digest     bytea NOT NULL,
    body       bytea NOT NULL,             -- PinnedForm, msgpack
    expires_ns bigint NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE pins (
    tenant     text NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,             -- of its form
    expires_ns bigint NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE INDEX pins_by_expiry ON pins (expires_ns);
CREATE INDEX pinned_forms_by_expiry ON pinned_forms (expires_ns);
