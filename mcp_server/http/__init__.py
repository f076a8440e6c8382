"""The server over Streamable HTTP: who calls, how much, and what of the grant is theirs."""
