-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program ignores a key's scopes, and
-- makes keys with those that all keys had before.

-- What a key may do: words with one space between two.
ALTER TABLE api_key ADD COLUMN scopes TEXT NOT NULL DEFAULT 'verify:start verify:check read applications';
-- When the key stops working for good, whatever its secret's expires_at says; 0: never.
ALTER TABLE api_key ADD COLUMN ends_at INTEGER NOT NULL DEFAULT 0;
-- When it was last used, to about ten minutes.
ALTER TABLE api_key ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;

-- When somebody last showed that the user's number is theirs; 0: nobody did, or the program before recorded it.
ALTER TABLE app_user ADD COLUMN verified_at INTEGER NOT NULL DEFAULT 0;
