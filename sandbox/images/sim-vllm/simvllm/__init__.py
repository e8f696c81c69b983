"""A small, strict stand-in for `vllm serve` on simulated NPUs: standard library only."""
