"""The record: sessions, runs, messages and events, append-only, in SQLModel tables."""
