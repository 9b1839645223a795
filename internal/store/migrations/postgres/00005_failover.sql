-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- By which channels a message may go on, with their texts, in JSON; '' for none.
ALTER TABLE verification ADD COLUMN fallbacks TEXT NOT NULL DEFAULT '';

-- By which an attempt went; '' where that is its verification's.
ALTER TABLE delivery ADD COLUMN channel TEXT NOT NULL DEFAULT '';
