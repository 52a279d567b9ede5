output "host" {
  description = "Host name of the server, as pods reach it."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Its port."
  value       = aws_db_instance.this.port
}

output "admin_secret_arn" {
  description = "ARN of the secret with the administrator's user name and password. Only the database Job in the cluster may read it."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "key_arn" {
  description = "KMS key of the storage and of that secret."
  value       = aws_kms_key.this.arn
}

output "identifier" {
  description = "Identifier of the instance, for snapshots and restores."
  value       = aws_db_instance.this.identifier
}
