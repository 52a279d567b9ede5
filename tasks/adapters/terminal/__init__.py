"""The terminal: what is said on it, and what is asked."""
