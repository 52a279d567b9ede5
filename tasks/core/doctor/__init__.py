"""Decisions of the doctor: what a machine needs, and which packages provide it."""
