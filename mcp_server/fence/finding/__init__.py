"""Lines and names in many files: ripgrep, what it prints, and what of that a caller gets."""
