-- What a job that succeeded used: the class of its device, its time there, its price in millionths of the currency.
ALTER TABLE jobs ADD COLUMN device_class TEXT;
ALTER TABLE jobs ADD COLUMN gpu_ms INTEGER;
ALTER TABLE jobs ADD COLUMN price_micros INTEGER;

-- The sums of it by day of the end (days since the epoch, UTC), written in the transaction that ends a job and kept
-- beyond it. Empty texts: nobody was named, no template, not succeeded.
CREATE TABLE usage (
    tenant        INTEGER NOT NULL,
    day           INTEGER NOT NULL,
    on_behalf_of  TEXT NOT NULL,
    template      TEXT NOT NULL,
    class         INTEGER NOT NULL,
    device_class  TEXT NOT NULL,
    jobs          INTEGER NOT NULL,
    unbilled_jobs INTEGER NOT NULL,
    images        INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    gpu_ms        INTEGER NOT NULL,
    price_micros  INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, on_behalf_of, template, class, device_class)
) WITHOUT ROWID;
CREATE INDEX usage_by_day ON usage (day);

-- People of a tenant that a day counts by name; those beyond the bound are counted without.
CREATE TABLE usage_people (
    tenant INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    people INTEGER NOT NULL,
    PRIMARY KEY (tenant, day)
) WITHOUT ROWID;
