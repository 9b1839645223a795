-- +goose Up
-- By which key, and from which address, a verification was started. The program before says neither.
ALTER TABLE verification ADD COLUMN api_key BYTEA NOT NULL DEFAULT '\x00000000000000000000000000000000';
ALTER TABLE verification ADD COLUMN address TEXT NOT NULL DEFAULT '';
