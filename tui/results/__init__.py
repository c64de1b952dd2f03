"""The results pane: charts, runs, studies and the log of what is in view."""
