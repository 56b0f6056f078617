"""The experiments of the paper, each on simulated held-out samples or on real stacks.

``recurrent-mz experiments`` runs those that :mod:`.run` names; each leaves a table and a figure.
"""
