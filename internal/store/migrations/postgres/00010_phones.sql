-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- Which call holds a number's phone, over all projects: at most one at a time.
CREATE TABLE phone (
    number       TEXT   COLLATE "C" PRIMARY KEY,
    verification BYTEA  NOT NULL,
    attempt      BIGINT NOT NULL,
    since        BIGINT NOT NULL,
    until        BIGINT NOT NULL -- nobody waits for it any longer
) WITH (fillfactor = 80);
