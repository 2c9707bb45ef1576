"""Fusion strategies: one module is one head, found by its name."""
