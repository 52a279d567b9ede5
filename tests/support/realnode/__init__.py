"""A cluster of one real node on this machine: what `nox -s node` runs against."""
