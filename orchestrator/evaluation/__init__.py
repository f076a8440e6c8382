"""Agents put to the test: a dataset of cases, a run for each, and what was found."""
