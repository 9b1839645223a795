-- +goose Up
-- All of this only adds, so that the program before may still run on it.

-- An application that an API caller made has a version from 1; a default one has 0, and no users.
ALTER TABLE application ADD COLUMN description        TEXT   NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN prefix             TEXT   NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN channels           TEXT   NOT NULL DEFAULT ''; -- one space between two
ALTER TABLE application ADD COLUMN associate_template TEXT   NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN login_template     TEXT   NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN display_name       TEXT   NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN created_at         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN updated_at         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN version            BIGINT NOT NULL DEFAULT 0;
CREATE INDEX application_project ON application (project);

-- Applications that are gone, and whose users may not all be.
CREATE TABLE deleted_application (
    id BYTEA PRIMARY KEY
);

CREATE TABLE app_user (
    application BYTEA  NOT NULL,
    name        TEXT   COLLATE "C" NOT NULL,
    address     TEXT   COLLATE "C" NOT NULL,
    status      BIGINT NOT NULL,
    latest      BYTEA  NOT NULL, -- verification; every other one of this user is superseded
    sends       BYTEA  NOT NULL, -- times of the last ones
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    PRIMARY KEY (application, name)
) WITH (fillfactor = 80);
CREATE INDEX app_user_created ON app_user (application, created_at, name);

CREATE TABLE message_template (
    id          BYTEA  PRIMARY KEY,
    project     TEXT   COLLATE "C" NOT NULL REFERENCES project (id),
    designation TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    pattern     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    UNIQUE (project, name)
);

-- Whose verification it is, '' for nobody's, and what stands before its code.
ALTER TABLE verification ADD COLUMN app_user TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE verification ADD COLUMN prefix   TEXT NOT NULL DEFAULT '';

-- With a consumer key a key's secret is replaced by its holder.
ALTER TABLE api_key ADD COLUMN consumer_key    TEXT   NOT NULL DEFAULT ''; -- '': none
ALTER TABLE api_key ADD COLUMN consumer_secret BYTEA  NOT NULL DEFAULT ''; -- SHA-256
ALTER TABLE api_key ADD COLUMN expires_at      BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX api_key_consumer ON api_key (consumer_key) WHERE consumer_key <> '';
