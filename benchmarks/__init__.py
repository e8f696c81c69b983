"""What npuctl costs beside the same work done with other tools: `make bench`."""
