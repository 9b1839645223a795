-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- Second factors of operators that their devices hold.
CREATE TABLE operator_passkey (
    id         BLOB    PRIMARY KEY,
    operator   BLOB    NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    credential BLOB    NOT NULL UNIQUE, -- its id at the device
    record     TEXT    NOT NULL,        -- its public key, and what else checks it: JSON
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,        -- 0: never
    challenge  BLOB    NOT NULL         -- the id of the last one that it signed: older ones are refused
) STRICT;
CREATE INDEX operator_passkey_operator ON operator_passkey (operator);
