"""Putting things together: the settings, adapters and targets of one run."""
