"""What is there: files as text, as pictures, as facts; and directories."""
