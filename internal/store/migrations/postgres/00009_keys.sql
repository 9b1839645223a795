-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- The keys that made verifications, some of which may still be pending: see keys.go. A print tells whether two
-- keys are the same, and nothing else.
CREATE TABLE made_with (
    key_id  BIGINT PRIMARY KEY,
    print   BYTEA   NOT NULL,
    used_at BIGINT NOT NULL -- when a server last said that it makes verifications with it
);

-- The servers that run, and the keys that each of them has.
CREATE TABLE key_holder (
    server  BYTEA   PRIMARY KEY,
    keys    BYTEA   NOT NULL, -- an id of 4 bytes and a print of 16 for each
    makes   BIGINT NOT NULL, -- the key of its new verifications; 0: it makes none
    seen_at BIGINT NOT NULL
);
