"""The tools, one a file: what a model reads, the call, the shape of the answer."""
