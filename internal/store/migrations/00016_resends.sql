-- +goose Up
-- What a caller asked for after the start: how often the message went out again, when last, for which attempt on, and by
-- which channel. The program before makes no resends; it takes one over as it takes over any message.
ALTER TABLE verification ADD COLUMN resent TEXT NOT NULL DEFAULT '';
