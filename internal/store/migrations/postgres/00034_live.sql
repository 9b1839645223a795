-- +goose Up
-- All of this only adds, so that the program before may still run on it. That program keeps to no cap of an hour and to
-- none of a country, and takes the configuration's weights.

-- A budget's project may be "PROJECT/COUNTRY", or "/COUNTRY" for all projects: see verify.CountryLimit. Then at, actor and
-- note say who set it. marks are the parts of its caps of whose use operators were told: see verify.Mark.
ALTER TABLE budget ADD COLUMN hour_messages BIGINT NOT NULL DEFAULT -1;
ALTER TABLE budget ADD COLUMN max_price BIGINT NOT NULL DEFAULT -1;
ALTER TABLE budget ADD COLUMN country TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN actor TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN marks TEXT NOT NULL DEFAULT '';
CREATE INDEX budget_country ON budget (country) WHERE country <> '';

-- The latest hour (since 1970) in which the writer spent something of the day, and the messages of that hour.
ALTER TABLE spending ADD COLUMN hour BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN hour_messages BIGINT NOT NULL DEFAULT 0;

-- What was taken of the budget for messages that the writer's process is about to start, and when last. Nobody else gets it
-- until that is some seconds ago.
ALTER TABLE spending ADD COLUMN granted_messages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN granted_amount BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN granted_at BIGINT NOT NULL DEFAULT 0;

-- The weights that carriers have in a route in place of the configuration's. A route is named by its conditions.
CREATE TABLE weight (
    route   TEXT COLLATE "C" NOT NULL,
    carrier TEXT COLLATE "C" NOT NULL,
    weight  BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    actor   TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    PRIMARY KEY (route, carrier)
);

-- What was used, by month, under its first day (since 1970): the sums of the rows of usage_day, which triggers add up. So they
-- are right whichever program folds the days.
CREATE TABLE usage_month (
    project     TEXT COLLATE "C" NOT NULL,
    month       BIGINT NOT NULL,
    application BYTEA NOT NULL,
    purpose     TEXT COLLATE "C" NOT NULL,
    channel     TEXT COLLATE "C" NOT NULL,
    country     TEXT COLLATE "C" NOT NULL,
    carrier     TEXT COLLATE "C" NOT NULL,
    currency    TEXT COLLATE "C" NOT NULL,
    started     BIGINT NOT NULL,
    messages    BIGINT NOT NULL,
    segments    BIGINT NOT NULL,
    minutes     BIGINT NOT NULL,
    delivered   BIGINT NOT NULL,
    approved    BIGINT NOT NULL,
    cost        BIGINT NOT NULL,
    price       BIGINT NOT NULL,
    PRIMARY KEY (project, month, application, purpose, channel, country, carrier, currency)
);
INSERT INTO usage_month (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) SELECT project, month, application, purpose, channel, country, carrier, currency, sum(started), sum(messages), sum(segments), sum(minutes), sum(delivered), sum(approved), sum(cost), sum(price) FROM
    (SELECT *, (EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(day * 86400) AT TIME ZONE 'UTC'))::bigint / 86400) AS month FROM usage_day) d GROUP BY project, month, application, purpose, channel, country, carrier, currency;
-- +goose StatementBegin
CREATE FUNCTION usage_day_to_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO usage_month AS m (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) VALUES (NEW.project, (EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(NEW.day * 86400) AT TIME ZONE 'UTC'))::bigint / 86400), NEW.application, NEW.purpose, NEW.channel, NEW.country, NEW.carrier, NEW.currency, NEW.started, NEW.messages, NEW.segments, NEW.minutes, NEW.delivered, NEW.approved, NEW.cost, NEW.price)
        ON CONFLICT (project, month, application, purpose, channel, country, carrier, currency) DO UPDATE SET started = m.started + excluded.started, messages = m.messages + excluded.messages, segments = m.segments + excluded.segments, minutes = m.minutes + excluded.minutes, delivered = m.delivered + excluded.delivered, approved = m.approved + excluded.approved, cost = m.cost + excluded.cost, price = m.price + excluded.price;
    ELSE
        INSERT INTO usage_month AS m (project, month, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) VALUES (NEW.project, (EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(NEW.day * 86400) AT TIME ZONE 'UTC'))::bigint / 86400), NEW.application, NEW.purpose, NEW.channel, NEW.country, NEW.carrier, NEW.currency, NEW.started - OLD.started, NEW.messages - OLD.messages, NEW.segments - OLD.segments, NEW.minutes - OLD.minutes, NEW.delivered - OLD.delivered, NEW.approved - OLD.approved, NEW.cost - OLD.cost, NEW.price - OLD.price)
        ON CONFLICT (project, month, application, purpose, channel, country, carrier, currency) DO UPDATE SET started = m.started + excluded.started, messages = m.messages + excluded.messages, segments = m.segments + excluded.segments, minutes = m.minutes + excluded.minutes, delivered = m.delivered + excluded.delivered, approved = m.approved + excluded.approved, cost = m.cost + excluded.cost, price = m.price + excluded.price;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER usage_day_to_month AFTER INSERT OR UPDATE ON usage_day FOR EACH ROW EXECUTE FUNCTION usage_day_to_month();
