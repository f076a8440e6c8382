"""Forms in which other programs keep agents, and ours: read into plain values, and written."""
