"""Calls that need a person's yes: which ones, how they are asked for, and how a run waits."""
