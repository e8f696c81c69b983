"""Clusters of simulated NPU nodes on one machine: containers that behave like servers.

A node is a container with systemd, sshd and its own Docker engine, reached over real SSH. It proves
SSH, Ansible, privilege, services, containers, ports, failure handling and clean-up; it proves
nothing about NPU kernels, HCCL or driver installers.
"""
