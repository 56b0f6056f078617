"""The demos, as windows that show a simulated sample at work."""
