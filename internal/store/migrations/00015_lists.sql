-- +goose Up
-- What a project started, the newest first, without a look at what others did. Its columns never change, so only a start
-- writes it.
CREATE INDEX verification_project ON verification (project, id);
