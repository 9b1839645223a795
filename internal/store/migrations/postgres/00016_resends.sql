-- +goose Up
-- What a caller asked for after the start: how often the message went out again, when last, for which attempt on, and by
-- which channel. The program before makes no resends; it takes one over as it takes over any message.
ALTER TABLE verification ADD COLUMN resent TEXT NOT NULL DEFAULT '';
-- What a caller adds to a verification: metadata, and a payment that the code authorizes. The program before knows none of
-- it, and refuses codes of payments.
ALTER TABLE verification ADD COLUMN details TEXT NOT NULL DEFAULT '';
-- The sender of an attempt whose carrier has another one in place of the public sender; "" is the verification's.
ALTER TABLE delivery ADD COLUMN sender TEXT NOT NULL DEFAULT '';
