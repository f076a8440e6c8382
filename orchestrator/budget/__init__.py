"""What runs may use, and what becomes of those that have used it up."""
