"""Everything that stands between a caller and the disk."""
