"""Specs on record, their versions, and the one catalogue of these and the files."""
