"""`python -m mcp_server --root DIR`; `mcp_server.command` is the program.

It is imported once the front is open, which answers while the rest is loaded.
"""

import sys

from mcp_server.front import Front

if __name__ == "__main__":
    front = Front.opened("python -m mcp_server", sys.argv[1:])

    from mcp_server.command import main

    sys.exit(main(front=front))
