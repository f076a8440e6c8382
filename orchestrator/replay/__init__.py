"""A run gone through a second time: with its recorded answers, or with another model's."""
