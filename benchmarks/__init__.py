"""What Workyard costs, measured beside what it stands on; `README.md` says how to read it."""
