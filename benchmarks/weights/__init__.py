"""Weights to many nodes over links of a known speed."""
