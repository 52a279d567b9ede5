"""The local machine: its programs, packages, services and virtual environment."""
