-- Originals and deliverables may go at different times. `gone` of an output: 0 neither, 1 the original, 2 what was made of
-- it. Without the original `original` is empty while `original_name` stays; without deliverables `blob` is the original,
-- and the output is not shown any more.
ALTER TABLE outputs ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_originals_past ON jobs (ended_at + originals_for_ms)
    WHERE state >= 3 AND originals_for_ms IS NOT NULL AND tombstone_until IS NULL;

-- What lies in a bucket of the caller's is not held by the gateway.
DROP TRIGGER blobs_written;
DROP TRIGGER blobs_freed;
CREATE TRIGGER blobs_written AFTER INSERT ON blobs WHEN new.sink IS NOT '' BEGIN
    UPDATE tenants SET held_bytes = held_bytes + new.size_bytes WHERE id = new.tenant;
END;
CREATE TRIGGER blobs_freed AFTER DELETE ON blobs WHEN old.sink IS NOT '' BEGIN
    UPDATE tenants SET held_bytes = held_bytes - old.size_bytes WHERE id = old.tenant;
END;
UPDATE tenants SET held_bytes =
    (SELECT coalesce(sum(size_bytes), 0) FROM blobs WHERE blobs.tenant = tenants.id AND blobs.sink IS NOT '');
