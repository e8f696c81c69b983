"""Ascend hardware: what npu-smi says, and what npuctl knows about each product."""
