"""Rules of a cluster: what is put into it, and what its objects tell."""
