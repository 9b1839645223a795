-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- The language of calls: an application's, '' for the server's default, and what a verification froze.
ALTER TABLE application  ADD COLUMN locale TEXT NOT NULL DEFAULT '';
ALTER TABLE verification ADD COLUMN locale TEXT NOT NULL DEFAULT '';
