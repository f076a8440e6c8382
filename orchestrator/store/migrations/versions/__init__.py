"""The revisions, one module each: the number of a schema, and the way to it from the last."""
