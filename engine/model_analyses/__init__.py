"""Analyses that need the model: scores of texts, use and weights of neurons."""
