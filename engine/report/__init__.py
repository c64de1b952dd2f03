"""A session on paper: a report that stands by itself, and a script that repeats the experiment without this program."""
