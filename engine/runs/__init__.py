"""Runs as plans, journals and outcomes: everything about a run that needs no model."""
