"""Files and locks of the user's own, and files to be fetched."""
