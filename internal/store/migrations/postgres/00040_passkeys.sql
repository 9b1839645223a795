-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- Second factors of operators that their devices hold.
CREATE TABLE operator_passkey (
    id         BYTEA   PRIMARY KEY,
    operator   BYTEA   NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    credential BYTEA   NOT NULL UNIQUE, -- its id at the device
    record     TEXT    NOT NULL,        -- its public key, and what else checks it: JSON
    name       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    used_at    BIGINT  NOT NULL,        -- 0: never
    challenge  BYTEA   NOT NULL         -- the id of the last one that it signed: older ones are refused
);
CREATE INDEX operator_passkey_operator ON operator_passkey (operator);
