-- +goose Up
-- It only adds, so that the program before may still run on it. That program doesn't know that a project moves.

-- Where projects move to another database, or came from one. A file has one database, so that nothing moves.
CREATE TABLE project_move (
    project  TEXT    PRIMARY KEY,
    state    TEXT    NOT NULL, -- moving or moved away; arriving or arrived here
    id       BLOB    NOT NULL, -- of the move, in both databases
    other    TEXT    NOT NULL, -- the shard to which it goes, or from which it comes
    began_at INTEGER NOT NULL,
    target   TEXT    NOT NULL DEFAULT '' -- the identity, when the fence was put up, of the database to which it goes
) STRICT, WITHOUT ROWID;

-- Whose answer it is. '' is what the program before has kept, for a day.
ALTER TABLE kept_answer ADD COLUMN project TEXT NOT NULL DEFAULT '';

-- Which databases a server serves, one name on each line, and the machine that it is on. '' is the program before: it doesn't know
-- that projects move.
ALTER TABLE key_holder ADD COLUMN serves TEXT NOT NULL DEFAULT '';
ALTER TABLE key_holder ADD COLUMN host TEXT NOT NULL DEFAULT '';
