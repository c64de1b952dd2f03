"""What the program adds to Textual and to the terminal: every patch, and the clipboard."""
