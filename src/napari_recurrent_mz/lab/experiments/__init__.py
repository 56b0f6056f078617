"""The experiments of the paper, each on simulated held-out samples or on real stacks.

Each one measures a table, from which alone its lines in ``results.md`` and most of its figure
follow: :mod:`.base` says what an experiment is, :mod:`.lab` what it works with, and
:mod:`.run` names them all. ``recurrent-mz experiments`` runs them.
"""
