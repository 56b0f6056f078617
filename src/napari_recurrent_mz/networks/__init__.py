"""Recurrent-MZ and the networks that it is compared with: their inputs, weights and fast forms.

``recurrent_mz`` is the paper's network in one file; the rest feeds it and runs it quickly.
"""
