-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program knows none of it.

-- A project's named texts for starts. Applications name a message_template, which another API makes.
CREATE TABLE text_template (
    id         BYTEA   PRIMARY KEY,
    project    TEXT    COLLATE "C" NOT NULL REFERENCES project (id),
    name       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    version    BIGINT  NOT NULL,
    texts      TEXT    NOT NULL, -- JSON
    UNIQUE (project, name)
);
