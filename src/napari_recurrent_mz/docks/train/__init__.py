"""The Train dock: the bundled network goes on learning from the user's own stack."""
