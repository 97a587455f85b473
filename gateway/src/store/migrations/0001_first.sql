-- Times are milliseconds since the epoch. Ids of the domain are UUIDs as 16 bytes; `seq` is the row's own number, in
-- the order of insertion. 64-bit hashes are stored as signed integers, bit for bit. JSON is text.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenants (
    id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    name        TEXT NOT NULL UNIQUE,
    weight      INTEGER NOT NULL,
    concurrency INTEGER NOT NULL
);

-- Everybody's tenant while no key was ever created. 4294967295: no bound.
INSERT INTO tenants (name, weight, concurrency) VALUES ('default', 1, 4294967295);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    prefix     TEXT NOT NULL,
    tenant     INTEGER NOT NULL REFERENCES tenants (id),
    scope      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;

-- state: 0 queued, 1 placed, 2 canceling, 3 succeeded, 4 failed, 5 canceled, 6 expired; open means below 3.
-- face: 0 v2, 1 native, 2 private. class: 0 batch, 1 normal, 2 interactive.
-- A job past its retention keeps its row as a tombstone until `tombstone_until`, without body, outputs and labels.
-- That a public id is unique among the open jobs of a tenant is seen to by the one writer.
CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY NOT NULL,
    id               BLOB NOT NULL UNIQUE,
    public_id        TEXT NOT NULL,
    tenant           INTEGER NOT NULL,
    face             INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    revision         INTEGER NOT NULL,
    class            INTEGER NOT NULL,
    weight           INTEGER NOT NULL,
    concurrency      INTEGER NOT NULL,
    sort_order       INTEGER,
    accepted_at      INTEGER NOT NULL,
    started_at       INTEGER,
    ended_at         INTEGER,
    start_deadline   INTEGER,
    deadline         INTEGER NOT NULL,
    retention_ms     INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    tombstone_until  INTEGER,
    attempt          INTEGER NOT NULL,
    instance         INTEGER,
    placed_at        INTEGER NOT NULL,
    faults           INTEGER NOT NULL,
    losses           INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    provisional      INTEGER NOT NULL,
    shape            INTEGER NOT NULL,
    prior_run_ms     INTEGER NOT NULL,
    prior_vram_mib   INTEGER NOT NULL,
    parts            BLOB NOT NULL,
    models           BLOB NOT NULL,
    labels           TEXT,
    error            TEXT
);
CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
CREATE INDEX jobs_by_public_id ON jobs (tenant, public_id);
CREATE INDEX jobs_open ON jobs (seq) WHERE state < 3;
CREATE INDEX jobs_past_retention ON jobs (expires_at) WHERE state >= 3 AND tombstone_until IS NULL;
CREATE INDEX jobs_tombstones ON jobs (tombstone_until) WHERE tombstone_until IS NOT NULL;

-- What was submitted, apart from the job so that its changes of state stay small.
CREATE TABLE job_bodies (
    job           INTEGER PRIMARY KEY NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    workflow      TEXT NOT NULL,
    extra_pnginfo TEXT,
    inputs        TEXT,
    strict        INTEGER NOT NULL,
    needs_partner_key INTEGER NOT NULL
);

-- Labels again, for listing by them; jobs.labels is the truth.
CREATE TABLE job_labels (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    job    BLOB NOT NULL,
    PRIMARY KEY (tenant, name, value, job)
) WITHOUT ROWID;

CREATE TABLE attempts (
    job       INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    instance  INTEGER NOT NULL,
    prompt    BLOB NOT NULL,
    placed_at INTEGER NOT NULL,
    ended_at  INTEGER,
    ended_how TEXT,
    message   TEXT,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- `claim`: 16 bytes of the BLAKE3 of tenant, face and key. Callers' keys are random, and an index over them as they are
-- would touch a page a row.
CREATE TABLE idempotency (
    seq        INTEGER PRIMARY KEY NOT NULL,
    claim      BLOB NOT NULL UNIQUE,
    tenant     INTEGER NOT NULL,
    face       INTEGER NOT NULL,
    key        TEXT NOT NULL,
    job        BLOB NOT NULL,
    body_hash  BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    status     INTEGER,
    response   TEXT
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- Bytes a tenant holds. `unheld_at` marks those that no record, output or pin holds; `held_until` is a promise made to
-- somebody who asked for the hash.
CREATE TABLE blobs (
    seq        INTEGER PRIMARY KEY NOT NULL,
    id         BLOB NOT NULL UNIQUE,
    tenant     INTEGER NOT NULL,
    hash       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    object_key TEXT NOT NULL UNIQUE,
    unheld_at  INTEGER,
    held_until INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX blobs_by_hash ON blobs (tenant, hash);
CREATE INDEX blobs_unheld ON blobs (unheld_at) WHERE unheld_at IS NOT NULL;

-- `minted` counts up for a tenant's name with each upload under it, so that the newest upload is the one meant.
CREATE TABLE assets (
    seq          INTEGER PRIMARY KEY NOT NULL,
    id           BLOB NOT NULL UNIQUE,
    tenant       INTEGER NOT NULL,
    blob         INTEGER NOT NULL REFERENCES blobs (seq),
    file_path    TEXT NOT NULL,
    content_type TEXT NOT NULL,
    tags         TEXT NOT NULL,
    minted       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER
);
CREATE INDEX assets_by_name ON assets (tenant, file_path, minted);
CREATE INDEX assets_by_blob ON assets (blob);
CREATE INDEX assets_by_expiry ON assets (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE outputs (
    seq          INTEGER PRIMARY KEY NOT NULL,
    id           BLOB NOT NULL UNIQUE,
    job          INTEGER NOT NULL REFERENCES jobs (seq),
    tenant       INTEGER NOT NULL,
    node_id      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    blob         INTEGER NOT NULL REFERENCES blobs (seq)
);
CREATE INDEX outputs_by_job ON outputs (job);
CREATE INDEX outputs_by_name ON outputs (tenant, name);
CREATE INDEX outputs_by_blob ON outputs (blob);

-- What an open job will read, through which record or output it named it.
CREATE TABLE pins (
    job   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    blob  INTEGER NOT NULL REFERENCES blobs (seq),
    asset BLOB NOT NULL,
    PRIMARY KEY (job, blob, asset)
) WITHOUT ROWID;
CREATE INDEX pins_by_blob ON pins (blob);
CREATE INDEX pins_by_asset ON pins (asset);

-- A tenant's own running numbers for output files, by folder and prefix.
CREATE TABLE name_counters (
    tenant INTEGER NOT NULL,
    prefix TEXT NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (tenant, prefix)
) WITHOUT ROWID;

CREATE TABLE instances (
    id        INTEGER PRIMARY KEY NOT NULL,
    name      TEXT NOT NULL,
    host      TEXT NOT NULL,
    catalogue TEXT,
    facts     TEXT,
    seen_at   INTEGER NOT NULL
);

CREATE TABLE catalogues (
    hash      TEXT PRIMARY KEY NOT NULL,
    body      TEXT NOT NULL,
    stored_at INTEGER NOT NULL
);

-- kind 0: run time of a shape on a device class (mean_ms, runs). 1: load time of a model on one (mean_ms, loads).
-- 2: room a shape needs (above_mib, at_most_mib), class 0.
CREATE TABLE learned (
    kind    INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    class   INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    second  INTEGER NOT NULL,
    PRIMARY KEY (kind, subject, class)
) WITHOUT ROWID;
