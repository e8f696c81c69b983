"""Plan → nodes, through Ansible. The only package that starts Ansible."""
