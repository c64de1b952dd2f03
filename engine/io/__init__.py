"""Files: atomic writes, arrays and tables of vectors, nothing of which is ever unpickled."""
