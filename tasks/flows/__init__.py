"""The order of steps of each job, over adapters that are handed in."""
