-- +goose Up
-- It only adds, so that the program before may still run on it. What that program keeps isn't counted.

-- How many answers were kept for a project's requests that had a key and cost no message, by hour (since 1970).
CREATE TABLE kept_count (
    project TEXT    NOT NULL,
    hour    INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (project, hour)
) STRICT, WITHOUT ROWID;
