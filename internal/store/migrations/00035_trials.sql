-- +goose Up
-- It only adds, so that the program before may still run on it. That program sends a trial project's messages to all numbers
-- while none is confirmed.

-- Messages a day of a project that is being tried: it may send to its only_numbers alone, also where there are none. 0: it isn't.
ALTER TABLE project ADD COLUMN trial_messages INTEGER NOT NULL DEFAULT 0;
