-- +goose Up
-- What operators did. Numbers stand here with their last four digits only.
CREATE TABLE audit (
    id      BYTEA PRIMARY KEY, -- its time is when
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    project TEXT NOT NULL,
    detail  TEXT NOT NULL
);
