"""Sessions taken out of a record and into one: as JSON Lines, Markdown, or messages."""
