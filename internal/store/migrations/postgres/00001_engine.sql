-- +goose Up
-- The schema of SQLite's files, number for number, in PostgreSQL's words. Times are milliseconds since
-- 1970 UTC, 0 where there is none. Ids are the 16 bytes of a UUIDv7. Texts that are keys, or sorted by,
-- are compared byte by byte, as in SQLite.

CREATE TABLE project (
    id               TEXT    COLLATE "C" PRIMARY KEY,
    name             TEXT    COLLATE "C" NOT NULL,
    profile          TEXT    NOT NULL,
    send_burst       BIGINT  NOT NULL,
    send_interval_ms BIGINT  NOT NULL,
    send_daily       BIGINT  NOT NULL,
    senders          TEXT    NOT NULL, -- E.164, one space between two
    public_text      BOOLEAN NOT NULL,
    application      BYTEA   NOT NULL, -- the default one
    created_at       BIGINT  NOT NULL
);

CREATE TABLE application (
    id       BYTEA  PRIMARY KEY,
    project  TEXT   COLLATE "C" NOT NULL REFERENCES project (id),
    name     TEXT   NOT NULL,
    format   TEXT   NOT NULL, -- here and below, '' and 0 leave it to the profile
    length   BIGINT NOT NULL,
    life_ms  BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    sender   TEXT   NOT NULL
);

CREATE TABLE api_key (
    id         BYTEA  PRIMARY KEY,
    project    TEXT   COLLATE "C" NOT NULL REFERENCES project (id),
    name       TEXT   NOT NULL,
    hash       BYTEA  NOT NULL UNIQUE, -- SHA-256 of the secret
    revoked_at BIGINT NOT NULL
);

-- The hot table. No secondary index: what must be found otherwise is in retry, or by id range. A row is
-- written two or three times within minutes; the room that the fillfactor leaves keeps its versions on
-- one page, so that the index isn't written again.
CREATE TABLE verification (
    id           BYTEA  PRIMARY KEY,
    project      TEXT   COLLATE "C" NOT NULL,
    application  BYTEA  NOT NULL,
    channel      TEXT   NOT NULL,
    destination  TEXT   COLLATE "C" NOT NULL,
    purpose      TEXT   NOT NULL,
    sender       TEXT   NOT NULL,
    text         TEXT   NOT NULL,
    format       TEXT   NOT NULL,
    length       BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    key_id       BIGINT NOT NULL,
    code_mac     BYTEA  NOT NULL,
    previous     BYTEA  NOT NULL, -- 16 zero bytes: none
    status       BIGINT NOT NULL,
    guesses      BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL,
    delivery     BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    attempt      BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    code_sealed  BYTEA
) WITH (fillfactor = 50);

CREATE TABLE destination (
    project    TEXT   COLLATE "C" NOT NULL,
    number     TEXT   COLLATE "C" NOT NULL,
    tat        BIGINT NOT NULL, -- of the send limiter's GCRA
    sends      BYTEA  NOT NULL, -- times of the last day's sends
    failures   BIGINT NOT NULL,
    wait_until BIGINT NOT NULL,
    latest     BYTEA  NOT NULL,
    PRIMARY KEY (project, number)
) WITH (fillfactor = 80);

CREATE TABLE delivery (
    verification BYTEA  NOT NULL,
    attempt      BIGINT NOT NULL,
    carrier      TEXT   NOT NULL,
    outcome      BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    ref          TEXT   NOT NULL,
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL,
    PRIMARY KEY (verification, attempt)
);

-- Hints: "look at this verification's message then". One too many does no harm. It is read from its
-- front, where rows are deleted: vacuum it by their number, however many there are.
CREATE TABLE retry (
    due BIGINT NOT NULL,
    id  BYTEA  NOT NULL,
    PRIMARY KEY (due, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- sweep: how far the sweeper has read. Every row up to here has settled or has a hint.
-- announced: how far it may have read. Who starts a verification up to here leaves a hint.
-- void: what was made up to here is void, because a failover may have lost what became of it.
CREATE TABLE watermark (
    name TEXT  PRIMARY KEY,
    id   BYTEA NOT NULL
);
INSERT INTO watermark (name, id)
SELECT name, decode('00000000000000000000000000000000', 'hex')
FROM (VALUES ('sweep'), ('announced'), ('void')) AS w (name);

-- It holds nothing: starts share a lock on it, for which the sweeper waits.
CREATE TABLE sweep_gate (nothing BIGINT);

-- Which server the data was on, to notice a failover.
CREATE TABLE server (
    name     TEXT PRIMARY KEY,
    system   TEXT NOT NULL,
    timeline TEXT NOT NULL
);
INSERT INTO server (name, system, timeline) VALUES ('primary', '', '');

-- Where a move from an SQLite file has come to, by table; '' names the file. Empty: none is under way.
CREATE TABLE moving (
    name TEXT PRIMARY KEY,
    last TEXT NOT NULL
);
