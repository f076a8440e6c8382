"""Stores of conversations, ours and our peers': each runs in a process of its own."""
