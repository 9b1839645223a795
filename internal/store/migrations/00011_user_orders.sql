-- +goose Up
-- What users may be sorted and filtered by, so that a page of a million costs as much as one of a hundred.
CREATE INDEX app_user_address ON app_user (application, address, name);
CREATE INDEX app_user_status ON app_user (application, status, name);
CREATE INDEX app_user_updated ON app_user (application, updated_at, name);
CREATE INDEX app_user_version ON app_user (application, version, name);
