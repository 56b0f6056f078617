"""How fast this machine is, in one run, as ratios to the plain network on the same machine.

``recurrent-mz bench`` runs the subjects that :mod:`.base` names, or times stages of the network.
"""
