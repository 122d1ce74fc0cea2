"""Models of signals on graphs, explained in graph frequencies: a plugin for trimkit."""
