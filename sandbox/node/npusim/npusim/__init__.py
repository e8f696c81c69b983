"""A node's simulated NPUs: npu-smi, hccn_tool and the switchboard that breaks them on request.

Standard library only, Python 3.11, no module that is slow to import on the way of npu-smi: it is
called for every node of a cluster at once.
"""
