-- +goose Up
-- It only adds, so that the program before may still run on it. That program writes neither column.

-- The carrier's own code for the failure of an attempt, and for that of its receipt; "" where it gave none.
ALTER TABLE delivery ADD COLUMN carrier_code TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN receipt_code TEXT NOT NULL DEFAULT '';
