-- +goose Up
-- It only adds, so that the program before may still run on it.

-- The answers to requests that had a key, so that each of them is carried out once. Neither the request nor its
-- answer is stored in the clear.
CREATE TABLE kept_answer (
    name       BYTEA  PRIMARY KEY, -- a hash of the project and the key
    id         BYTEA  NOT NULL,
    key_id     BIGINT NOT NULL,
    request    BYTEA  NOT NULL, -- a MAC
    sealed     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX kept_answer_expires_at ON kept_answer (expires_at);
