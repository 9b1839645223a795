-- +goose Up
-- It only adds, so that the program before may still run on it.

-- The answers to requests that had a key, so that each of them is carried out once. Neither the request nor its
-- answer is stored in the clear.
CREATE TABLE kept_answer (
    name       BLOB    PRIMARY KEY, -- a hash of the project and the key
    id         BLOB    NOT NULL,
    key_id     INTEGER NOT NULL,
    request    BLOB    NOT NULL, -- a MAC
    sealed     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_answer_expires_at ON kept_answer (expires_at);
