-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- Where a project may send: two letters of each country with one space between two, or any. What was made
-- before, and what the program before makes, may send anywhere.
ALTER TABLE project ADD COLUMN countries TEXT NOT NULL DEFAULT 'any';
-- And the kinds of numbers that it may send to beside ordinary ones, in the same way.
ALTER TABLE project ADD COLUMN number_kinds TEXT NOT NULL DEFAULT '';

-- The form in which a caller wrote the number, where it isn't destination: the number's key.
ALTER TABLE verification ADD COLUMN written TEXT NOT NULL DEFAULT '';
