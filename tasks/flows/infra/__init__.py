"""The flows of the infrastructure: a stack's state, plans and Terraform runs."""
