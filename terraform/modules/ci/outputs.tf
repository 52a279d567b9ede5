output "main_role_arn" {
  description = "Role that jobs of the main branch take: AWS_ROLE_ARN of the prod jobs."
  value       = aws_iam_role.this["main"].arn
}

output "branches_role_arn" {
  description = "Role that jobs of branches take; null where branches have none."
  value       = one([for key, role in aws_iam_role.this : role.arn if key == "branches"])
}

output "main_subject" {
  description = "The `sub` of the main branch's tokens."
  value       = "${local.subject}${var.main_ref}"
}

output "provider_arn" {
  description = "The OIDC provider, for other stacks of the account."
  value       = local.provider_arn
}

output "snapshots" {
  description = "ARN, with a wildcard, of the snapshots that jobs of the main branch may take; null where they may take none."
  value       = var.database_identifier == null ? null : local.snapshots
}
