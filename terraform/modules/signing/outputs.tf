output "alias_arn" {
  description = "What `signing_key` of invoke.yaml names."
  value       = aws_kms_alias.this.arn
}
