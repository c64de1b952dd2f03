"""The background process that holds the model warm, and how others talk to it. None of it but `models` meets torch."""
