-- What a tenant may do and how it is served, as JSON; NULL: nothing of its own.
ALTER TABLE tenants ADD COLUMN settings TEXT;
