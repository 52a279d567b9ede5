"""Local files: the cache, downloads, locks, private files."""
