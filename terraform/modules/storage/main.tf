locals {
  # What both storage classes of helm/platform have in common: an access point per claim, owned by
  # the user that Debian's images run as, under a path that names namespace and claim.
  class = {
    provisioningMode      = "efs-ap"
    fileSystemId          = aws_efs_file_system.this.id
    directoryPerms        = "770"
    uid                   = "33"
    gid                   = "33"
    subPathPattern        = "$${.PVC.namespace}/$${.PVC.name}"
    ensureUniqueDirectory = "true"
  }
}

resource "aws_kms_key" "this" {
  #checkov:skip=CKV2_AWS_64:KMS' default key policy, which leaves all decisions to IAM, is the one wanted
  description             = "Files of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-files"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_efs_file_system" "this" {
  creation_token   = var.name
  encrypted        = true
  kms_key_id       = aws_kms_key.this.arn
  performance_mode = "generalPurpose"
  throughput_mode  = "elastic"

  dynamic "lifecycle_policy" {
    for_each = var.infrequent_access_days == 0 ? [] : [
      var.infrequent_access_days == 1 ? "AFTER_1_DAY" : "AFTER_${var.infrequent_access_days}_DAYS",
    ]

    content {
      transition_to_ia = lifecycle_policy.value
    }
  }

  dynamic "lifecycle_policy" {
    for_each = var.infrequent_access_days == 0 ? [] : ["AFTER_1_ACCESS"]

    content {
      transition_to_primary_storage_class = lifecycle_policy.value
    }
  }

  tags = { Name = var.name }
}

resource "aws_security_group" "this" {
  name        = "${var.name}-files"
  description = "NFS, from the cluster's nodes only"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-files" }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.clients

  security_group_id            = aws_security_group.this.id
  description                  = "NFS from ${each.key}"
  referenced_security_group_id = each.value
  from_port                    = 2049
  to_port                      = 2049
  ip_protocol                  = "tcp"
}

resource "aws_efs_mount_target" "this" {
  count = length(var.subnet_ids)

  file_system_id  = aws_efs_file_system.this.id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.this.id]
}

resource "aws_efs_backup_policy" "this" {
  count = var.backup ? 1 : 0

  file_system_id = aws_efs_file_system.this.id

  backup_policy {
    status = "ENABLED"
  }
}

# Nodes mount without IAM: what they may reach is decided by the mount targets' security group and
# by access points. This adds that nothing but a mount target may be used, and never in plain.
resource "aws_efs_file_system_policy" "this" {
  count = var.enforce_tls ? 1 : 0

  file_system_id = aws_efs_file_system.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "MountTargetsOnly"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientRootAccess", "elasticfilesystem:ClientWrite"]
        Resource  = aws_efs_file_system.this.arn
        Condition = { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } }
      },
      {
        Sid       = "NeverInPlain"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientRootAccess", "elasticfilesystem:ClientWrite"]
        Resource  = aws_efs_file_system.this.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}
