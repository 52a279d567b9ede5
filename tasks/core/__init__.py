"""Pure rules: no files, no network, no processes, no invoke."""
