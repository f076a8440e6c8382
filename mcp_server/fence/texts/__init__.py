"""Bytes as text and back without losing one; exact edits, what is nearest, diffs. No I/O."""
