-- +goose Up
-- It only adds, so that the program before may still run on it. That program sends to all numbers.

-- The only numbers that a project may send to, in E.164 with one space between two; '': all.
ALTER TABLE project ADD COLUMN only_numbers TEXT NOT NULL DEFAULT '';
