"""Who serves which model and what it costs: the data files and their compilers."""
