-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- What a carrier said later of an attempt. Where it was quicker than our own record of the attempt,
-- ended_at is 0 until that comes.
ALTER TABLE delivery ADD COLUMN receipt        BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN receipt_at     BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN receipt_reason TEXT   NOT NULL DEFAULT '';

-- Carriers name a message by their own id of it. Those that give none cost nothing here.
CREATE INDEX delivery_ref ON delivery (carrier, ref, verification, attempt) WHERE ref <> '';

-- What stands at the end of a project's messages, '' for nothing, and how they are written.
ALTER TABLE project ADD COLUMN webotp        TEXT    NOT NULL DEFAULT '';
ALTER TABLE project ADD COLUMN android_hash  TEXT    NOT NULL DEFAULT '';
ALTER TABLE project ADD COLUMN transliterate BOOLEAN NOT NULL DEFAULT FALSE;
