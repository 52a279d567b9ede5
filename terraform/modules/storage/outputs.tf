output "file_system_id" {
  description = "The file system, once it can be mounted in all zones."
  value       = aws_efs_file_system.this.id

  depends_on = [aws_efs_mount_target.this]
}

output "file_system_arn" {
  description = "Its ARN."
  value       = aws_efs_file_system.this.arn
}

output "storage_classes" {
  description = "Reclaim policy and parameters of the storage classes efs-branch and efs-prod."
  value = {
    efs-branch = {
      reclaimPolicy = "Delete"
      parameters    = merge(local.class, { basePath = "/branches" })
    }
    efs-prod = {
      reclaimPolicy = "Retain"
      parameters    = merge(local.class, { basePath = "/prod" })
    }
  }
}
