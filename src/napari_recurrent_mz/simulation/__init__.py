"""Simulated samples and the scans that a microscope would take of them.

Training, the demos and the tests look at these, since their truth is known.
"""
