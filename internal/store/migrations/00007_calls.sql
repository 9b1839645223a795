-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- How an application's calls are made: their language, '' for the server's default, and whether they
-- ask for a key instead of telling a code.
ALTER TABLE application ADD COLUMN locale TEXT NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN by_key INTEGER NOT NULL DEFAULT 0;

-- What a verification froze of it, and who asks in a call for a key.
ALTER TABLE verification ADD COLUMN locale   TEXT NOT NULL DEFAULT '';
ALTER TABLE verification ADD COLUMN approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE verification ADD COLUMN asker    TEXT NOT NULL DEFAULT '';
