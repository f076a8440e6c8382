"""MCP servers that the operator has registered by name, in `servers.toml`.

names.py        what servers and their tools are called, and what a model sees of that
registry.py     `servers.toml`: nothing large is loaded
checking.py     what a spec says of servers, held against the registry
process.py      a server in a process of its own
address.py      a server at an address
results.py      what comes back from a call, bounded and without secrets
client.py       Pydantic AI's MCP toolset on one of these
toolset.py      the tools of it that an agent has
reach.py        which servers, and what of each, an agent gets at
capability.py   `McpServer`, for specs
asking.py       a server asked for its tools, by who wants to know
"""
