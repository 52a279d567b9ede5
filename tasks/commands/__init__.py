"""The tasks that `inv` offers: each one parses, calls one flow and prints."""
