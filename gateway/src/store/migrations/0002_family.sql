-- Which speed of a device class counts for a job; 0: unknown.
ALTER TABLE jobs ADD COLUMN family INTEGER NOT NULL DEFAULT 0;
