"""Spec and facts → plan. Pure: no process, no socket, no clock."""
