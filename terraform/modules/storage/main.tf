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

  # By "iam" a mount says whose it is.
  mount_options = var.driver == null ? ["tls"] : ["tls", "iam"]
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

locals {
  client_actions = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientRootAccess", "elasticfilesystem:ClientWrite"]

  node_role_arn       = try(var.driver.node_role_arn, null)
  controller_role_arn = try(var.driver.controller_role_arn, null)

  # Where the driver's roles are not known, whoever the mount targets' security group lets in may mount.
  anybody = [
    {
      Sid       = "MountTargetsOnly"
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = local.client_actions
      Resource  = aws_efs_file_system.this.arn
      Condition = { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } }
    },
  ]

  # Deny beats what any policy of IAM allows, today's or tomorrow's. An anonymous mount has no aws:PrincipalArn, and
  # so is not equal to any.
  driver = [
    {
      Sid       = "NodesMountForPods"
      Effect    = "Allow"
      Principal = { AWS = local.node_role_arn }
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      Resource  = aws_efs_file_system.this.arn
      Condition = { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } }
    },
    {
      # The folder of a deleted volume lies outside every other access point.
      Sid       = "ControllerRemovesFolders"
      Effect    = "Allow"
      Principal = { AWS = local.controller_role_arn }
      Action    = local.client_actions
      Resource  = aws_efs_file_system.this.arn
      Condition = { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } }
    },
    {
      Sid       = "NobodyElse"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = local.client_actions
      Resource  = aws_efs_file_system.this.arn
      Condition = { ArnNotEquals = { "aws:PrincipalArn" = [local.node_role_arn, local.controller_role_arn] } }
    },
    {
      # An access point replaces the client's user by its own, root too.
      Sid       = "ThroughAccessPointsOnly"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = local.client_actions
      Resource  = aws_efs_file_system.this.arn
      Condition = {
        Null         = { "elasticfilesystem:AccessPointArn" = "true" }
        ArnNotEquals = { "aws:PrincipalArn" = local.controller_role_arn }
      }
    },
    {
      Sid       = "NoRootButToRemove"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["elasticfilesystem:ClientRootAccess"]
      Resource  = aws_efs_file_system.this.arn
      Condition = { ArnNotEquals = { "aws:PrincipalArn" = local.controller_role_arn } }
    },
  ]
}

resource "aws_efs_file_system_policy" "this" {
  count = var.enforce_tls ? 1 : 0

  file_system_id = aws_efs_file_system.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for one in local.anybody : one if var.driver == null],
      [for one in local.driver : one if var.driver != null],
      [
        {
          Sid       = "NeverInPlain"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = local.client_actions
          Resource  = aws_efs_file_system.this.arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ],
    )
  })
}
