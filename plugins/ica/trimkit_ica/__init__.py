"""Independent component analysis for trimkit."""
