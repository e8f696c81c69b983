"""From an installed operating system to a node that can serve: what has to change for it. Pure."""
