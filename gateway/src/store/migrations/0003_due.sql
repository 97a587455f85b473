-- When a job is wanted: it runs sooner for it, and still runs when it is late. Milliseconds since the epoch.
ALTER TABLE jobs ADD COLUMN due_at INTEGER;
