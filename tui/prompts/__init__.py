"""The prompts pane."""
