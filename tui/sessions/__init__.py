"""The list of saved sessions."""
