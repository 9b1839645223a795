-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program reads the rows of usage_hour
-- alone, which stay complete.

-- What was used, by day (since 1970): the sums of the rows of usage_hour that have been folded. Folded rows are of
-- writer -1. Those that writers have added since are found by the index.
CREATE TABLE usage_day (
    project     TEXT COLLATE "C" NOT NULL,
    day         BIGINT NOT NULL,
    application BYTEA   NOT NULL,
    purpose     TEXT COLLATE "C" NOT NULL,
    channel     TEXT COLLATE "C" NOT NULL,
    country     TEXT COLLATE "C" NOT NULL,
    carrier     TEXT COLLATE "C" NOT NULL,
    currency    TEXT COLLATE "C" NOT NULL,
    started     BIGINT NOT NULL,
    messages    BIGINT NOT NULL,
    segments    BIGINT NOT NULL,
    minutes     BIGINT NOT NULL,
    delivered   BIGINT NOT NULL,
    approved    BIGINT NOT NULL,
    cost        BIGINT NOT NULL,
    price       BIGINT NOT NULL,
    PRIMARY KEY (project, day, application, purpose, channel, country, carrier, currency)
);
CREATE INDEX usage_fresh ON usage_hour (hour) WHERE writer >= 0;
