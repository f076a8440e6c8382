"""Workyard's entry in the settings of MCP hosts: where it goes, what it says, how it is written."""
