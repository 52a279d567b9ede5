"""One module per outside system; the only place that sees its exceptions."""
