-- ComfyUI's own API. `native`: what a submission by it said beside its graph, JSON. `record`: what ComfyUI's history said
-- of the attempt that ended the job, in the caller's own words, JSON. `hidden`: the caller took it out of its history.
ALTER TABLE job_bodies ADD COLUMN native TEXT;
ALTER TABLE job_bodies ADD COLUMN record TEXT;
ALTER TABLE job_bodies ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;

-- Queue and history of that face; tombstones are in neither.
CREATE INDEX jobs_native_open ON jobs (tenant, seq) WHERE face = 1 AND state < 3;
CREATE INDEX jobs_native_ended ON jobs (tenant, ended_at, seq) WHERE face = 1 AND state >= 3 AND tombstone_until IS NULL;

-- What the web editor keeps for its user: settings, saved workflows.
CREATE TABLE userdata (
    seq         INTEGER PRIMARY KEY NOT NULL,
    tenant      INTEGER NOT NULL,
    path        TEXT NOT NULL,
    body        BLOB NOT NULL,
    size_bytes  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX userdata_by_path ON userdata (tenant, path);
