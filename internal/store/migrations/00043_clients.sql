-- +goose Up
-- It only adds, so that the program before may still run on it.

-- The prompts that say who asked, so that upkeep finds those that nobody needs any more.
CREATE INDEX verification_client ON verification (id) WHERE prompt LIKE '%"Client"%';
