-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- The people who may use the console.
CREATE TABLE operator (
    id         BYTEA   PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL,
    projects   TEXT    NOT NULL, -- that they may see, with spaces between; '': all
    created_at BIGINT  NOT NULL,
    password   TEXT    NOT NULL, -- its argon2id hash; '': not set
    key_id     BIGINT  NOT NULL, -- of the key that sealed the seed
    seed       BYTEA,            -- of the second factor, sealed
    step       BIGINT  NOT NULL, -- the last time step whose code was accepted
    failures   BIGINT  NOT NULL,
    wait_until BIGINT  NOT NULL,
    link       BYTEA   UNIQUE,   -- the hash of the token of the one-time link
    link_until BIGINT  NOT NULL
);

CREATE TABLE operator_session (
    id         BYTEA   PRIMARY KEY,
    operator   BYTEA   NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    hash       BYTEA   NOT NULL UNIQUE, -- of its token
    created_at BIGINT  NOT NULL,
    used_at    BIGINT  NOT NULL,
    ends_at    BIGINT  NOT NULL,
    address    TEXT    NOT NULL,
    agent      TEXT    NOT NULL
);
CREATE INDEX operator_session_operator ON operator_session (operator);

-- Addresses from which people sign in, with their failures.
CREATE TABLE sign_in_source (
    address    TEXT    PRIMARY KEY,
    failures   BIGINT  NOT NULL,
    wait_until BIGINT  NOT NULL,
    tried_at   BIGINT  NOT NULL
);
