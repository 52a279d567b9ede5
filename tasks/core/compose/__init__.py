"""Rules of Docker Compose: which containers have to change."""
