"""The whole chain from Python to the hosts, each link tried, with the way out where one fails."""
