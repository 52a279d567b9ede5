"""The steps of each job; adapters are passed in."""
