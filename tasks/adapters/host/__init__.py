"""This machine: its programs, packages, services and virtual environments."""
