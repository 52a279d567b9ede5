"""A Kubernetes cluster: its API, and Helm."""
