"""Simulated samples and the scans that a microscope would take of them.

Training, the demos and the tests look at these, since their truth is known.
"""

DEMO_SCANS_UM = (2.0, 5.0, 8.0)  # of demo_sample, here since windows wait for the module
