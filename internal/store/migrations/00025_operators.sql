-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- The people who may use the console.
CREATE TABLE operator (
    id         BLOB    PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL,
    projects   TEXT    NOT NULL, -- that they may see, with spaces between; '': all
    created_at INTEGER NOT NULL,
    password   TEXT    NOT NULL, -- its argon2id hash; '': not set
    key_id     INTEGER NOT NULL, -- of the key that sealed the seed
    seed       BLOB,             -- of the second factor, sealed
    step       INTEGER NOT NULL, -- the last time step whose code was accepted
    failures   INTEGER NOT NULL,
    wait_until INTEGER NOT NULL,
    link       BLOB    UNIQUE,   -- the hash of the token of the one-time link
    link_until INTEGER NOT NULL
) STRICT;

CREATE TABLE operator_session (
    id         BLOB    PRIMARY KEY,
    operator   BLOB    NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL UNIQUE, -- of its token
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    agent      TEXT    NOT NULL
) STRICT;
CREATE INDEX operator_session_operator ON operator_session (operator);

-- Addresses from which people sign in, with their failures.
CREATE TABLE sign_in_source (
    address    TEXT    PRIMARY KEY,
    failures   INTEGER NOT NULL,
    wait_until INTEGER NOT NULL,
    tried_at   INTEGER NOT NULL
) STRICT;
