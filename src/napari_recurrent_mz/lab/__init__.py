"""The laboratory: the experiments of the paper, and how fast a machine is.

It measures what the rest of the package does, and nothing but its two commands, ``recurrent-mz
experiments`` and ``recurrent-mz bench``, loads it.
"""
