"""The demos, as windows that show a simulated sample at work.

One is of the Reconstruct dock, one of the Live dock.
"""
