-- +goose Up
-- What a user's devices are asked in place of a code, and whether a check was told of their answer: see verify.Prompt. The
-- program before asks no device: it pushes the code of such a verification.
ALTER TABLE verification ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
-- How many prompts a user got since the last success, and when they said that it wasn't them who asked (0: they haven't).
ALTER TABLE app_user ADD COLUMN prompts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE app_user ADD COLUMN denied_at BIGINT NOT NULL DEFAULT 0;
-- The code with which a user's browser registers itself, once. A user has one at a time.
CREATE TABLE enrolment (
    application BYTEA   NOT NULL,
    app_user    TEXT    COLLATE "C" NOT NULL,
    hash        BYTEA   NOT NULL UNIQUE, -- of the code
    expires_at  BIGINT  NOT NULL,
    api_key     BYTEA   NOT NULL, -- that asked for it
    PRIMARY KEY (application, app_user),
    FOREIGN KEY (application, app_user) REFERENCES app_user (application, name) ON DELETE CASCADE
);
