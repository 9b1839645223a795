-- +goose NO TRANSACTION
-- +goose Up
-- What a project started, the newest first, without a look at what others did. Its columns never change, so only a start
-- writes it. Others write meanwhile, and nobody queues behind this: it may wait for as long as it takes. What a
-- build that was stopped has left is useless.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS verification_project;
CREATE INDEX CONCURRENTLY verification_project ON verification (project, id);
RESET lock_timeout;
