-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program keeps to no budget.

-- Whether the project has a row in budget.
ALTER TABLE project ADD COLUMN bound BOOLEAN NOT NULL DEFAULT false;

-- What the attempt under way has taken of the project's budget: see verify.Held. '' is nothing.
ALTER TABLE verification ADD COLUMN held TEXT NOT NULL DEFAULT '';

-- What projects may spend: see verify.Budget. -1 is no cap. Money is in millionths.
CREATE TABLE budget (
    project        TEXT COLLATE "C" PRIMARY KEY,
    day_messages   BIGINT NOT NULL,
    month_messages BIGINT NOT NULL,
    day_amount     BIGINT NOT NULL,
    month_amount   BIGINT NOT NULL,
    prepaid        BOOLEAN NOT NULL,
    currency       TEXT   NOT NULL
);

-- What projects have spent, by day (since 1970). Each writer adds to rows of its own, so that writers don't wait for each
-- other, and may by itself spend what is free in them. Writer -1 has what was spent before the budget was set.
CREATE TABLE spending (
    project       TEXT COLLATE "C" NOT NULL,
    day           BIGINT NOT NULL,
    writer        BIGINT NOT NULL,
    messages      BIGINT NOT NULL,
    amount        BIGINT NOT NULL,
    free_messages BIGINT NOT NULL,
    free_amount   BIGINT NOT NULL,
    PRIMARY KEY (project, day, writer)
);

-- What was paid into balances, and corrections.
CREATE TABLE ledger (
    project TEXT COLLATE "C" NOT NULL,
    id      BYTEA   NOT NULL, -- its time is when
    kind    TEXT   NOT NULL,
    amount  BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    note    TEXT   NOT NULL,
    PRIMARY KEY (project, id)
);
