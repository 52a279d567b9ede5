"""Rules of the doctor: what a machine needs, and which packages bring it."""
