"""Estimates from the optics, in closed form or by iteration: linear MMSE, non-negative object.

They give a plane from a few scans without training, and what error to expect; and scans' faults.
"""
