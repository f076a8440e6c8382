"""What agents and hosts have changed in a root: listed, shown, taken back."""
