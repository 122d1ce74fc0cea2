"""Generative adversarial networks for trimkit."""
