"""The suite as a package. Its files lie in the folder ``suite``, as in a checkout of it."""
