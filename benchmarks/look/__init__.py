"""How long inspect and check take on many nodes: 64 of them, and with one that does not answer."""
