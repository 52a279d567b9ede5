"""The flows of the kubernetes target: deploy, track, keep the evidence, look after, clean up."""
