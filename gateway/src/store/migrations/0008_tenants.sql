-- What a tenant may do and how it is served, as JSON; NULL: nothing of its own. `in_file`: defined in the configuration.
-- `held_bytes`: of all its blobs, kept by the triggers below.
ALTER TABLE tenants ADD COLUMN settings TEXT;
ALTER TABLE tenants ADD COLUMN in_file INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN retired_at INTEGER;
ALTER TABLE tenants ADD COLUMN held_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET held_bytes = (SELECT coalesce(sum(size_bytes), 0) FROM blobs WHERE blobs.tenant = tenants.id);

CREATE TRIGGER blobs_written AFTER INSERT ON blobs BEGIN
    UPDATE tenants SET held_bytes = held_bytes + new.size_bytes WHERE id = new.tenant;
END;
CREATE TRIGGER blobs_freed AFTER DELETE ON blobs BEGIN
    UPDATE tenants SET held_bytes = held_bytes - old.size_bytes WHERE id = old.tenant;
END;

-- `networks`: from where a key works, as JSON; NULL: from anywhere.
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
ALTER TABLE keys ADD COLUMN networks TEXT;

-- Who changed what of tenants and keys; `before` and `after` are JSON without secrets.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    before  TEXT,
    after   TEXT
);

-- How long after a job's end its body and its outputs are kept, where that is shorter than its record; NULL: as long, or
-- gone already.
ALTER TABLE jobs ADD COLUMN body_for_ms INTEGER;
ALTER TABLE jobs ADD COLUMN originals_for_ms INTEGER;
ALTER TABLE jobs ADD COLUMN deliverables_for_ms INTEGER;
CREATE INDEX jobs_bodies_past ON jobs (ended_at + body_for_ms)
    WHERE state >= 3 AND body_for_ms IS NOT NULL AND tombstone_until IS NULL;
CREATE INDEX jobs_outputs_past ON jobs (ended_at + deliverables_for_ms)
    WHERE state >= 3 AND deliverables_for_ms IS NOT NULL AND tombstone_until IS NULL;

-- For exporting and deleting what a tenant has.
CREATE INDEX assets_by_tenant ON assets (tenant, seq);
CREATE INDEX blobs_unheld_by_tenant ON blobs (tenant) WHERE unheld_at IS NOT NULL;
CREATE INDEX idempotency_by_job ON idempotency (job);
