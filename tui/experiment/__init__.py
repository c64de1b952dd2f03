"""The intervention pane: an experiment as a form."""
