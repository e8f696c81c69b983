"""npuctl takes Ascend servers to a served, checked language model over SSH, and back."""
