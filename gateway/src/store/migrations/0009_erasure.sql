-- For exporting and deleting all that is known of a job.
CREATE INDEX events_by_job ON events (job);
CREATE INDEX deliveries_dead_by_job ON deliveries (job) WHERE dead_at IS NOT NULL;
