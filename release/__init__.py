"""What is made of this repository for others: a bundle, and an entry for the registry."""
