"""Docker on this machine: its Engine, Compose, Buildx and images."""
