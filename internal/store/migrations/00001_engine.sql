-- +goose Up
-- Times are milliseconds since 1970 UTC, 0 where there is none. Ids are the 16 bytes of a UUIDv7.

CREATE TABLE project (
    id               TEXT    PRIMARY KEY,
    name             TEXT    NOT NULL,
    profile          TEXT    NOT NULL,
    send_burst       INTEGER NOT NULL,
    send_interval_ms INTEGER NOT NULL,
    send_daily       INTEGER NOT NULL,
    senders          TEXT    NOT NULL, -- E.164, one space between two
    public_text      INTEGER NOT NULL,
    application      BLOB    NOT NULL, -- the default one
    created_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE application (
    id       BLOB    PRIMARY KEY,
    project  TEXT    NOT NULL REFERENCES project (id),
    name     TEXT    NOT NULL,
    format   TEXT    NOT NULL, -- here and below, '' and 0 leave it to the profile
    length   INTEGER NOT NULL,
    life_ms  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    sender   TEXT    NOT NULL
) STRICT;

CREATE TABLE api_key (
    id         BLOB    PRIMARY KEY,
    project    TEXT    NOT NULL REFERENCES project (id),
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE, -- SHA-256 of the secret
    revoked_at INTEGER NOT NULL
) STRICT;

-- The hot table. No secondary index: what must be found otherwise is in retry, or by id range.
CREATE TABLE verification (
    id           BLOB    PRIMARY KEY,
    project      TEXT    NOT NULL,
    application  BLOB    NOT NULL,
    channel      TEXT    NOT NULL,
    destination  TEXT    NOT NULL,
    purpose      TEXT    NOT NULL,
    sender       TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    format       TEXT    NOT NULL,
    length       INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    key_id       INTEGER NOT NULL,
    code_mac     BLOB    NOT NULL,
    previous     BLOB    NOT NULL, -- 16 zero bytes: none
    status       INTEGER NOT NULL,
    guesses      INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    delivery     INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    code_sealed  BLOB              -- last, so that wiping it moves nothing
) STRICT, WITHOUT ROWID;

CREATE TABLE destination (
    project    TEXT    NOT NULL,
    number     TEXT    NOT NULL,
    tat        INTEGER NOT NULL, -- of the send limiter's GCRA
    sends      BLOB    NOT NULL, -- times of the last day's sends
    failures   INTEGER NOT NULL,
    wait_until INTEGER NOT NULL,
    latest     BLOB    NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    verification BLOB    NOT NULL,
    attempt      INTEGER NOT NULL,
    carrier      TEXT    NOT NULL,
    outcome      INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    ref          TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    PRIMARY KEY (verification, attempt)
) STRICT, WITHOUT ROWID;

-- Hints: "look at this verification's message then". One too many does no harm.
CREATE TABLE retry (
    due INTEGER NOT NULL,
    id  BLOB    NOT NULL,
    PRIMARY KEY (due, id)
) STRICT, WITHOUT ROWID;

-- How far the sweeper has read: every row up to here has settled or has a hint.
CREATE TABLE watermark (
    name TEXT PRIMARY KEY,
    id   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO watermark (name, id) VALUES ('sweep', zeroblob(16));
