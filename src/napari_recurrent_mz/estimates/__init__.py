"""Estimates from the optics, in closed form or by iteration: linear MMSE, non-negative object.

They give a plane from a few scans without training, what error to expect of it, and faults of scans.
"""
