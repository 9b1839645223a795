-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program keeps to no budget.

-- Whether the project has a row in budget.
ALTER TABLE project ADD COLUMN bound INTEGER NOT NULL DEFAULT 0;

-- What the attempt under way has taken of the project's budget: see verify.Held. '' is nothing.
ALTER TABLE verification ADD COLUMN held TEXT NOT NULL DEFAULT '';

-- What projects may spend: see verify.Budget. -1 is no cap. Money is in millionths.
CREATE TABLE budget (
    project        TEXT    PRIMARY KEY,
    day_messages   INTEGER NOT NULL,
    month_messages INTEGER NOT NULL,
    day_amount     INTEGER NOT NULL,
    month_amount   INTEGER NOT NULL,
    prepaid        INTEGER NOT NULL,
    currency       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What projects have spent, by day (since 1970). Each writer adds to rows of its own, so that writers don't wait for each
-- other, and may by itself spend what is free in them. Writer -1 has what was spent before the budget was set.
CREATE TABLE spending (
    project       TEXT    NOT NULL,
    day           INTEGER NOT NULL,
    writer        INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    amount        INTEGER NOT NULL,
    free_messages INTEGER NOT NULL,
    free_amount   INTEGER NOT NULL,
    PRIMARY KEY (project, day, writer)
) STRICT, WITHOUT ROWID;

-- What was paid into balances, and corrections.
CREATE TABLE ledger (
    project TEXT    NOT NULL,
    id      BLOB    NOT NULL, -- its time is when
    kind    TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;
