-- +goose Up
-- It only adds, so that the program before may still run on it. That program tells of the parts of all that was ever paid in.

-- What a prepaid project had spent ever when its balance was last topped up: operators are told of the parts of what it had then.
ALTER TABLE budget ADD COLUMN spent_before BIGINT NOT NULL DEFAULT 0;
