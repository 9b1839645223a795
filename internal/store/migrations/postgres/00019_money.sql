-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program records no money, and counts
-- nothing in usage_hour.

-- What a verification, and an attempt, came to: see verify.Fee and verify.Charge. '' is nothing.
ALTER TABLE verification ADD COLUMN fee TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN charge TEXT NOT NULL DEFAULT '';

-- What was used, by the hour in which the verification started (since 1970). Each writer adds to rows of its own, so
-- that writers don't wait for each other. Money is in millionths.
CREATE TABLE usage_hour (
    project     TEXT COLLATE "C" NOT NULL,
    hour        BIGINT NOT NULL,
    application BYTEA   NOT NULL,
    purpose     TEXT COLLATE "C" NOT NULL,
    channel     TEXT COLLATE "C" NOT NULL,
    country     TEXT COLLATE "C" NOT NULL,
    carrier     TEXT COLLATE "C" NOT NULL, -- '': counts of verifications, and of messages of which nobody knows the carrier
    currency    TEXT COLLATE "C" NOT NULL,
    writer      BIGINT NOT NULL,
    started     BIGINT NOT NULL,
    messages    BIGINT NOT NULL,
    segments    BIGINT NOT NULL,
    minutes     BIGINT NOT NULL,
    delivered   BIGINT NOT NULL,
    approved    BIGINT NOT NULL,
    cost        BIGINT NOT NULL,
    price       BIGINT NOT NULL,
    PRIMARY KEY (project, hour, application, purpose, channel, country, carrier, currency, writer)
) WITH (fillfactor = 50);
