"""An MCP server that gives a host safe hands in one directory; `python -m mcp_server` runs it."""
