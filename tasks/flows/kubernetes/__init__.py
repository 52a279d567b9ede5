"""The flows of the kubernetes target: deploy, track, save diagnostics, inspect, clean up."""
