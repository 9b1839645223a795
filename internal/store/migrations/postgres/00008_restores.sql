-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- Which writing of this row it is, in which database: what a dump doesn't carry along. See identity.
ALTER TABLE server ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
