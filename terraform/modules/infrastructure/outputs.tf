output "role_arn" {
  description = "Role that the Terraform jobs of this stack take."
  value       = aws_iam_role.this.arn
}

output "boundary_arn" {
  description = "Permissions boundary of every role of the stack."
  value       = aws_iam_policy.boundary.arn
}
