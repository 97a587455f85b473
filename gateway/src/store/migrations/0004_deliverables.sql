-- Files that are made of originals, and stores beside the gateway's own.

-- What becomes of a job's files, JSON; NULL: the originals are all that is delivered.
ALTER TABLE jobs ADD COLUMN delivery TEXT;

-- Which store holds the bytes. NULL: the gateway's own; a name: that sink; empty: a bucket of the caller's, where
-- `object_key` is only ours to tell rows apart.
ALTER TABLE blobs ADD COLUMN sink TEXT;

-- An output's row is its primary deliverable. `original` is set where another file stands for the original, which is
-- what chaining reads. `receipt` is what the caller calls an object in a bucket of its own, JSON. `variants` counts.
ALTER TABLE outputs ADD COLUMN original INTEGER REFERENCES blobs (seq);
ALTER TABLE outputs ADD COLUMN original_name TEXT;
ALTER TABLE outputs ADD COLUMN original_type TEXT;
ALTER TABLE outputs ADD COLUMN width INTEGER;
ALTER TABLE outputs ADD COLUMN height INTEGER;
ALTER TABLE outputs ADD COLUMN placeholder TEXT;
ALTER TABLE outputs ADD COLUMN receipt TEXT;
ALTER TABLE outputs ADD COLUMN variants INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outputs_by_original ON outputs (original) WHERE original IS NOT NULL;

CREATE TABLE variants (
    seq          INTEGER PRIMARY KEY NOT NULL,
    id           BLOB NOT NULL UNIQUE,
    output       INTEGER NOT NULL REFERENCES outputs (seq),
    tenant       INTEGER NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    blob         INTEGER NOT NULL REFERENCES blobs (seq),
    width        INTEGER,
    height       INTEGER,
    receipt      TEXT
);
CREATE INDEX variants_by_output ON variants (output);
CREATE INDEX variants_by_blob ON variants (blob);

-- What has to be removed from the stores: one object, or whatever an attempt that did not win has left behind. A row goes
-- when its bytes are gone; until then it comes again.
CREATE TABLE residue (
    seq        INTEGER PRIMARY KEY NOT NULL,
    sink       TEXT,
    object_key TEXT,
    job        BLOB,
    attempt    INTEGER,
    due_at     INTEGER NOT NULL
);
CREATE INDEX residue_by_due ON residue (due_at);
