"""Measures the suite against the plain commands."""
