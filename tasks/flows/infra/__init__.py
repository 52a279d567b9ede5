"""The flows of the infrastructure: a stack's state, its plans, their runs."""
