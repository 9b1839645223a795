-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- Who signs an operator in, and as whom: a provider's issuer and its word for the person. '': the operator has a password.
ALTER TABLE operator ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX operator_subject ON operator (subject) WHERE subject <> '';
