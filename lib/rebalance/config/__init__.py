"""Configuration as types: options of every part, files, runs, targets. Free of torch."""
