"""The verbs that need nodes: a look, or a change with its record. The command line only calls these."""
