"""Running experiments: the only way from a plan to the model, and from the model to a journal."""
