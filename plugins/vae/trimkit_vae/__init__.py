"""Variational autoencoders for trimkit."""
