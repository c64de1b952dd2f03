"""The main screen, and what its panes do together."""
