"""The Hessian penalty (Peebles et al. 2020) as a plugin: what a stranger adds without touching trimkit."""
