"""AWS: its credentials, EKS, parameters, and the bucket of Terraform's state."""
