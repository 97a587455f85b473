-- Events of jobs, in the order of their commits: `seq` is the cursor of the feed and never used twice (the newest row
-- is never swept). kind: 0 accepted, 1 placed, 2 requeued, 3 succeeded, 4 failed, 5 canceled, 6 expired.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY NOT NULL,
    tenant   INTEGER NOT NULL,
    job      BLOB NOT NULL,
    revision INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    at       INTEGER NOT NULL
);

-- Which events of a job are sent: one bit a kind; 0: it has no webhook.
ALTER TABLE jobs ADD COLUMN webhook_events INTEGER NOT NULL DEFAULT 0;

-- A receiver is a tenant's URL without its query.
CREATE TABLE receivers (
    id      INTEGER PRIMARY KEY NOT NULL,
    tenant  INTEGER NOT NULL,
    url     TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    UNIQUE (tenant, url)
);
CREATE INDEX receivers_by_use ON receivers (used_at);

CREATE TABLE job_webhooks (
    job      INTEGER PRIMARY KEY NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    receiver INTEGER NOT NULL,
    url      TEXT NOT NULL
);
CREATE INDEX job_webhooks_by_receiver ON job_webhooks (receiver);

-- Events that a receiver does not have yet; `seq` is the event's. `next_at` is empty behind an earlier event of the
-- same job, and of a dead letter. `since`: from when on patience counts.
CREATE TABLE deliveries (
    seq      INTEGER PRIMARY KEY NOT NULL,
    receiver INTEGER NOT NULL,
    url      TEXT NOT NULL,
    tenant   INTEGER NOT NULL,
    job      BLOB NOT NULL,
    revision INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    tries    INTEGER NOT NULL,
    next_at  INTEGER,
    dead_at  INTEGER,
    reason   TEXT
);
CREATE INDEX deliveries_due ON deliveries (receiver, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_job ON deliveries (job, seq) WHERE dead_at IS NULL;
CREATE INDEX deliveries_waiting ON deliveries (receiver, since) WHERE dead_at IS NULL;
CREATE INDEX deliveries_dead ON deliveries (receiver, seq) WHERE dead_at IS NOT NULL;
CREATE INDEX deliveries_dead_at ON deliveries (dead_at) WHERE dead_at IS NOT NULL;
