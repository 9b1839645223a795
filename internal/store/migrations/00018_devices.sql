-- +goose Up
-- This only adds, so that the program before may still run on it. That program knows no devices; the devices of a user
-- whom it deletes go with the user.
CREATE TABLE device (
    id          BLOB    PRIMARY KEY,
    application BLOB    NOT NULL,
    app_user    TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    locale      TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL, -- of the application and the endpoint: an endpoint is one user's
    key_id      INTEGER NOT NULL, -- of the key that sealed the next
    sealed      BLOB    NOT NULL, -- the endpoint and its keys
    used_at     INTEGER NOT NULL, -- 0: never
    UNIQUE (application, fingerprint),
    FOREIGN KEY (application, app_user) REFERENCES app_user (application, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX device_user ON device (application, app_user);
