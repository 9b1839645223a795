-- +goose NO TRANSACTION
-- +goose Up
-- What users may be sorted and filtered by, so that a page of a million costs as much as one of a hundred.
-- Others write meanwhile, and nobody queues behind this: it may wait for as long as it takes. What a
-- build that was stopped has left is useless.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS app_user_address;
CREATE INDEX CONCURRENTLY app_user_address ON app_user (application, address, name);
DROP INDEX CONCURRENTLY IF EXISTS app_user_status;
CREATE INDEX CONCURRENTLY app_user_status ON app_user (application, status, name);
DROP INDEX CONCURRENTLY IF EXISTS app_user_updated;
CREATE INDEX CONCURRENTLY app_user_updated ON app_user (application, updated_at, name);
DROP INDEX CONCURRENTLY IF EXISTS app_user_version;
CREATE INDEX CONCURRENTLY app_user_version ON app_user (application, version, name);
RESET lock_timeout;
