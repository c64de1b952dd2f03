"""Starting a run or a study from a terminal or a notebook: where it happens, how it is followed and stopped."""
