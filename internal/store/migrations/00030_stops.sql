-- +goose Up
-- It only adds, so that the program before may still run on it. That program stops nothing.

-- What operators have stopped while servers run: see verify.Stop.
CREATE TABLE stop (
    kind  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    actor TEXT    NOT NULL,
    note  TEXT    NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
