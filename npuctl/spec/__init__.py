"""What a person wrote: the cluster spec, read, checked and frozen."""
