-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- An application that an API caller made has a version from 1; a default one has 0, and no users.
ALTER TABLE application ADD COLUMN description        TEXT    NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN prefix             TEXT    NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN channels           TEXT    NOT NULL DEFAULT ''; -- one space between two
ALTER TABLE application ADD COLUMN associate_template TEXT    NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN login_template     TEXT    NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN display_name       TEXT    NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN created_at         INTEGER NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN updated_at         INTEGER NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN version            INTEGER NOT NULL DEFAULT 0;
CREATE INDEX application_project ON application (project);

-- Applications that are gone, and whose users may not all be.
CREATE TABLE deleted_application (
    id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE app_user (
    application BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    address     TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    latest      BLOB    NOT NULL, -- verification; every other one of this user is superseded
    sends       BLOB    NOT NULL, -- times of the last ones
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    PRIMARY KEY (application, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX app_user_created ON app_user (application, created_at, name);

CREATE TABLE message_template (
    id          BLOB    PRIMARY KEY,
    project     TEXT    NOT NULL REFERENCES project (id),
    designation TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    pattern     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    UNIQUE (project, name)
) STRICT;

-- Whose verification it is, '' for nobody's, and what stands before its code.
ALTER TABLE verification ADD COLUMN app_user TEXT NOT NULL DEFAULT '';
ALTER TABLE verification ADD COLUMN prefix   TEXT NOT NULL DEFAULT '';

-- With a consumer key a key's secret is replaced by its holder.
ALTER TABLE api_key ADD COLUMN consumer_key    TEXT    NOT NULL DEFAULT ''; -- '': none
ALTER TABLE api_key ADD COLUMN consumer_secret BLOB    NOT NULL DEFAULT x''; -- SHA-256
ALTER TABLE api_key ADD COLUMN expires_at      INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX api_key_consumer ON api_key (consumer_key) WHERE consumer_key <> '';
