-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- Which call holds a number's phone, over all projects: at most one at a time.
CREATE TABLE phone (
    number       TEXT    PRIMARY KEY,
    verification BLOB    NOT NULL,
    attempt      INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    until        INTEGER NOT NULL -- nobody waits for it any longer
) STRICT, WITHOUT ROWID;
