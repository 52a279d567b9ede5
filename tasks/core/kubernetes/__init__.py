"""Decisions about a cluster: objects to create, and judgements of those that exist."""
