-- +goose NO TRANSACTION
-- +goose Up
-- It only adds, so that the program before may still run on it. Others write meanwhile, and nobody queues behind this: it
-- may wait for as long as it takes.

-- The prompts that say who asked, so that upkeep finds those that nobody needs any more.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS verification_client;
CREATE INDEX CONCURRENTLY verification_client ON verification (id) WHERE prompt LIKE '%"Client"%';
RESET lock_timeout;
