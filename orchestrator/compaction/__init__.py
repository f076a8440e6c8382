"""History that fits: when a conversation nears what its model can take, its past becomes a summary.

The record keeps every message and says what the model was given instead (`store/`). This package
only decides when, what stays word for word, and what the summary says.
"""
