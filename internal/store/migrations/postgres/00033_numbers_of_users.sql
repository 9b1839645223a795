-- +goose NO TRANSACTION
-- +goose Up
-- It only adds, so that the program before may still run on it. That program lets several users have one number, and
-- leaves number as it is: upkeep fills in what is empty. A change that was stopped begins again, so nothing here minds
-- what is there already.

-- The number's key, by which the users who have a number are found.
ALTER TABLE app_user ADD COLUMN IF NOT EXISTS number TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Whether a number is one user's at most, and how many imports there were since.
ALTER TABLE application ADD COLUMN IF NOT EXISTS unique_numbers BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE application ADD COLUMN IF NOT EXISTS imports        BIGINT  NOT NULL DEFAULT 0;

-- Others write meanwhile, and nobody queues behind this: it may wait for as long as it takes.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS app_user_number;
CREATE INDEX CONCURRENTLY app_user_number ON app_user (application, number, name) WHERE number <> '';
DROP INDEX CONCURRENTLY IF EXISTS app_user_unkeyed;
CREATE INDEX CONCURRENTLY app_user_unkeyed ON app_user (application, name) WHERE number = '' AND address <> '';
RESET lock_timeout;
