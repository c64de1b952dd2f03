"""Studies: what a session means. Each takes a session, and what it needs beside it, and gives tables or bands.

Nothing here draws, and nothing here imports torch: a study that needs the model's weights is given arrays.
"""
