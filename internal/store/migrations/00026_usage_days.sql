-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program reads the rows of usage_hour
-- alone, which stay complete.

-- What was used, by day (since 1970): the sums of the rows of usage_hour that have been folded. Folded rows are of
-- writer -1. Those that writers have added since are found by the index.
CREATE TABLE usage_day (
    project     TEXT    NOT NULL,
    day         INTEGER NOT NULL,
    application BLOB    NOT NULL,
    purpose     TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    country     TEXT    NOT NULL,
    carrier     TEXT    NOT NULL,
    currency    TEXT    NOT NULL,
    started     INTEGER NOT NULL,
    messages    INTEGER NOT NULL,
    segments    INTEGER NOT NULL,
    minutes     INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    approved    INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    price       INTEGER NOT NULL,
    PRIMARY KEY (project, day, application, purpose, channel, country, carrier, currency)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_fresh ON usage_hour (hour) WHERE writer >= 0;
