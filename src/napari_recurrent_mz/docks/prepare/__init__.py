"""The Prepare dock: alignment, extended focus, normalisation and registration of stacks."""
