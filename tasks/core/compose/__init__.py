"""Decisions about Docker Compose: which containers have to change."""
