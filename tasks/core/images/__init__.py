"""Rules of the images: what their keys, tags and names are, what their programs say."""
