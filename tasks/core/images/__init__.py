"""Decisions about images: content keys, tags, names, and the messages of their programs."""
