"""What is changed: wishes become changes, which are made, put on record and taken back."""
