-- +goose Up
-- This only adds, so that the program before may still run on it. That program knows no devices; the devices of a user
-- whom it deletes go with the user.
CREATE TABLE device (
    id          BYTEA   PRIMARY KEY,
    application BYTEA   NOT NULL,
    app_user    TEXT    COLLATE "C" NOT NULL,
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    locale      TEXT    NOT NULL,
    fingerprint BYTEA   NOT NULL, -- of the application and the endpoint: an endpoint is one user's
    key_id      BIGINT  NOT NULL, -- of the key that sealed the next
    sealed      BYTEA   NOT NULL, -- the endpoint and its keys
    used_at     BIGINT  NOT NULL, -- 0: never
    UNIQUE (application, fingerprint),
    FOREIGN KEY (application, app_user) REFERENCES app_user (application, name) ON DELETE CASCADE
);
CREATE INDEX device_user ON device (application, app_user);
