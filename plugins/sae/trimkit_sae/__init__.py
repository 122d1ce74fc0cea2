"""Sparse autoencoders for trimkit."""
