-- For whom a job is done (opaque), the template it was made from with the seeds it runs with (JSON), the job it
-- repeats, the batch it came in.
ALTER TABLE jobs ADD COLUMN on_behalf_of TEXT;
ALTER TABLE jobs ADD COLUMN template TEXT;
ALTER TABLE jobs ADD COLUMN template_version INTEGER;
ALTER TABLE jobs ADD COLUMN seeds TEXT;
ALTER TABLE jobs ADD COLUMN retry_of TEXT;
ALTER TABLE jobs ADD COLUMN batch BLOB;

-- Lists by what few jobs have; tombstones are never listed.
CREATE INDEX jobs_by_state ON jobs (tenant, state, id) WHERE tombstone_until IS NULL;
CREATE INDEX jobs_by_user ON jobs (tenant, on_behalf_of, id) WHERE on_behalf_of IS NOT NULL AND tombstone_until IS NULL;
CREATE INDEX jobs_by_template ON jobs (tenant, template, id) WHERE template IS NOT NULL AND tombstone_until IS NULL;
CREATE INDEX jobs_by_batch ON jobs (tenant, batch, id) WHERE batch IS NOT NULL;

-- Stored workflows with typed parameters. Versions count from 1 and never change; tenant 0: everybody's.
-- definition: JSON of the workflow and its parameters. hash: BLAKE3 of definition and meta.
CREATE TABLE templates (
    seq         INTEGER PRIMARY KEY NOT NULL,
    tenant      INTEGER NOT NULL,
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    definition  TEXT NOT NULL,
    meta        TEXT NOT NULL,
    hash        BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER
);
CREATE UNIQUE INDEX templates_by_name ON templates (tenant, name, version);
