"""How fast this machine is, in one run, as ratios to the plain network on the same machine.

:mod:`.base` says what a row of the table is, :mod:`.registry` names the subjects, each a module
that measures one thing, :mod:`.table` prints what came out, and :mod:`.stages` sets every stage
of the network beside what the machine could do at best. ``recurrent-mz bench`` runs them.
"""
