"""The Train dock: the bundled network goes on learning from the user's own stack.

The work itself is in ``training``, which is loaded when it starts.
"""
