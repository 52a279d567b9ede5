output "file_system_id" {
  description = "The file system, once it can be mounted in all zones."
  value       = aws_efs_file_system.this.id

  depends_on = [aws_efs_mount_target.this]
}

output "file_system_arn" {
  description = "Its ARN."
  value       = aws_efs_file_system.this.arn
}

output "policy" {
  description = "Who may mount it and how, as JSON; null where it has no policy."
  value       = one(aws_efs_file_system_policy.this[*].policy)
}

output "storage_classes" {
  description = "Reclaim policy, mount options and parameters of the storage classes efs-branch and efs-prod."
  value = {
    efs-branch = {
      mountOptions  = local.mount_options
      reclaimPolicy = "Delete"
      parameters    = merge(local.class, { basePath = "/branches" })
    }
    efs-prod = {
      mountOptions  = local.mount_options
      reclaimPolicy = "Retain"
      parameters    = merge(local.class, { basePath = "/prod" })
    }
  }
}
