"""Looking at nodes: the inventory as Ansible reads it, and programs over kept SSH connections.

A look need not be a play: over a kept connection it is five times quicker. Changes go through Ansible
(npuctl/runner), over the same connections.
"""
