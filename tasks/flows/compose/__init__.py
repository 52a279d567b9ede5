"""Environments on this machine: one Compose project per branch, on the Docker Engine."""
