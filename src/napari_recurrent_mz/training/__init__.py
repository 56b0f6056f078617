"""Training of the network on simulated samples: fields, examples, losses, the loop.

Nothing on the way from scans to a volume imports this package.
"""
