output "role_arn" {
  description = "The role, once it is bound to the service account."
  value       = aws_iam_role.this.arn

  depends_on = [aws_eks_pod_identity_association.this]
}

output "policy" {
  description = "What its pods may do, as JSON; null with a managed policy alone."
  value       = var.policy
}
