-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- Where a move of this file to PostgreSQL has come to: see mark. Empty: none is under way.
CREATE TABLE moving (
    name TEXT PRIMARY KEY,
    last TEXT NOT NULL
) STRICT, WITHOUT ROWID;
