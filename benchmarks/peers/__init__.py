"""Contenders that run in processes, and some in environments, of their own."""
