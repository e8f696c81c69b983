"""What is known of the nodes: typed, and read from what a node answered."""
