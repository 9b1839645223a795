-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program records no money, and counts
-- nothing in usage_hour.

-- What a verification, and an attempt, came to: see verify.Fee and verify.Charge. '' is nothing.
ALTER TABLE verification ADD COLUMN fee TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN charge TEXT NOT NULL DEFAULT '';

-- What was used, by the hour in which the verification started (since 1970). Each writer adds to rows of its own, so
-- that writers don't wait for each other. Money is in millionths.
CREATE TABLE usage_hour (
    project     TEXT    NOT NULL,
    hour        INTEGER NOT NULL,
    application BLOB    NOT NULL,
    purpose     TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    country     TEXT    NOT NULL,
    carrier     TEXT    NOT NULL, -- '': counts of verifications, and of messages of which nobody knows the carrier
    currency    TEXT    NOT NULL,
    writer      INTEGER NOT NULL,
    started     INTEGER NOT NULL,
    messages    INTEGER NOT NULL,
    segments    INTEGER NOT NULL,
    minutes     INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    approved    INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    price       INTEGER NOT NULL,
    PRIMARY KEY (project, hour, application, purpose, channel, country, carrier, currency, writer)
) STRICT, WITHOUT ROWID;
