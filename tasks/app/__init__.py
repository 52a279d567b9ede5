"""Puts adapters and flows together, by the settings of one run."""
