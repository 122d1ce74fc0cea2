"""VQ-VAE, a plugin for trimkit."""
