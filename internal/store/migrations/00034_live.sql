-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program keeps to no cap of an hour and to
-- none of a country, and takes the configuration's weights.

-- A budget's project may be "PROJECT/COUNTRY", or "/COUNTRY" for all projects: see verify.CountryLimit. Then at, actor and
-- note say who set it. marks are the parts of its caps of whose use operators were told: see verify.Mark.
ALTER TABLE budget ADD COLUMN hour_messages INTEGER NOT NULL DEFAULT -1;
ALTER TABLE budget ADD COLUMN max_price INTEGER NOT NULL DEFAULT -1;
ALTER TABLE budget ADD COLUMN country TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN actor TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN marks TEXT NOT NULL DEFAULT '';
CREATE INDEX budget_country ON budget (country) WHERE country <> '';

-- The latest hour (since 1970) in which the writer spent something of the day, and the messages of that hour.
ALTER TABLE spending ADD COLUMN hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN hour_messages INTEGER NOT NULL DEFAULT 0;

-- What was taken of the budget for messages that the writer's process is about to start, and when last. Nobody else gets it
-- until that is some seconds ago.
ALTER TABLE spending ADD COLUMN granted_messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN granted_amount INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN granted_at INTEGER NOT NULL DEFAULT 0;

-- The weights that carriers have in a route in place of the configuration's. A route is named by its conditions.
CREATE TABLE weight (
    route   TEXT    NOT NULL,
    carrier TEXT    NOT NULL,
    weight  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    PRIMARY KEY (route, carrier)
) STRICT, WITHOUT ROWID;

-- What was used, by month, under its first day (since 1970): the sums of the rows of usage_day, which triggers add up. So they
-- are right whichever program folds the days.
CREATE TABLE usage_month (
    project     TEXT NOT NULL,
    month       INTEGER NOT NULL,
    application BLOB NOT NULL,
    purpose     TEXT NOT NULL,
    channel     TEXT NOT NULL,
    country     TEXT NOT NULL,
    carrier     TEXT NOT NULL,
    currency    TEXT NOT NULL,
    started     INTEGER NOT NULL,
    messages    INTEGER NOT NULL,
    segments    INTEGER NOT NULL,
    minutes     INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    approved    INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    price       INTEGER NOT NULL,
    PRIMARY KEY (project, month, application, purpose, channel, country, carrier, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_month (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) SELECT project, month, application, purpose, channel, country, carrier, currency, sum(started), sum(messages), sum(segments), sum(minutes), sum(delivered), sum(approved), sum(cost), sum(price) FROM
    (SELECT *, CAST(strftime('%s', day * 86400, 'unixepoch', 'start of month') AS INTEGER) / 86400 AS month FROM usage_day) d GROUP BY project, month, application, purpose, channel, country, carrier, currency;
-- +goose StatementBegin
CREATE TRIGGER usage_day_inserted AFTER INSERT ON usage_day BEGIN
    INSERT INTO usage_month (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) VALUES (NEW.project, CAST(strftime('%s', NEW.day * 86400, 'unixepoch', 'start of month') AS INTEGER) / 86400, NEW.application, NEW.purpose, NEW.channel, NEW.country, NEW.carrier, NEW.currency, NEW.started, NEW.messages, NEW.segments, NEW.minutes, NEW.delivered, NEW.approved, NEW.cost, NEW.price)
    ON CONFLICT (project, month, application, purpose, channel, country, carrier, currency) DO UPDATE SET started = started + excluded.started, messages = messages + excluded.messages, segments = segments + excluded.segments, minutes = minutes + excluded.minutes, delivered = delivered + excluded.delivered, approved = approved + excluded.approved, cost = cost + excluded.cost, price = price + excluded.price;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_day_updated AFTER UPDATE ON usage_day BEGIN
    INSERT INTO usage_month (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) VALUES (NEW.project, CAST(strftime('%s', NEW.day * 86400, 'unixepoch', 'start of month') AS INTEGER) / 86400, NEW.application, NEW.purpose, NEW.channel, NEW.country, NEW.carrier, NEW.currency, NEW.started - OLD.started, NEW.messages - OLD.messages, NEW.segments - OLD.segments, NEW.minutes - OLD.minutes, NEW.delivered - OLD.delivered, NEW.approved - OLD.approved, NEW.cost - OLD.cost, NEW.price - OLD.price)
    ON CONFLICT (project, month, application, purpose, channel, country, carrier, currency) DO UPDATE SET started = started + excluded.started, messages = messages + excluded.messages, segments = segments + excluded.segments, minutes = minutes + excluded.minutes, delivered = delivered + excluded.delivered, approved = approved + excluded.approved, cost = cost + excluded.cost, price = price + excluded.price;
END;
-- +goose StatementEnd
