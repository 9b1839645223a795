-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- How the phone call of an attempt went, where we made it: milliseconds until it was answered or given
-- up, when it was answered, milliseconds from then on, keys that were pressed, the network's last
-- answer, and whether the other side hung up.
ALTER TABLE delivery ADD COLUMN ring_ms     BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN answered_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN talk_ms     BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN keys        BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN call_status BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN hung_up     BIGINT NOT NULL DEFAULT 0;
