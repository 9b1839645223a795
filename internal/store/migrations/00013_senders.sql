-- +goose Up
-- What a project may send from, and which web sites its texts may name. Projects that there are keep what they
-- have, and so do those that the program before makes while it still runs on the database.
ALTER TABLE project ADD COLUMN any_sender INTEGER; -- from whatever isn't another project's, too; NULL: if senders is empty
ALTER TABLE project ADD COLUMN link_hosts TEXT NOT NULL DEFAULT ''; -- one space between two
ALTER TABLE project ADD COLUMN any_link INTEGER NOT NULL DEFAULT 1;
