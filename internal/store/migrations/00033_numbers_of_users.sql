-- +goose Up
-- It only adds, so that the program before may still run on it. That program lets several users have one number, and
-- leaves number as it is: upkeep fills in what is empty.

-- The number's key, by which the users who have a number are found.
ALTER TABLE app_user ADD COLUMN number TEXT NOT NULL DEFAULT '';
CREATE INDEX app_user_number ON app_user (application, number, name) WHERE number <> '';
CREATE INDEX app_user_unkeyed ON app_user (application, name) WHERE number = '' AND address <> '';

-- Whether a number is one user's at most, and how many imports there were since.
ALTER TABLE application ADD COLUMN unique_numbers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN imports        INTEGER NOT NULL DEFAULT 0;
