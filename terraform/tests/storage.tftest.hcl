mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name       = "mautic-prod"
  vpc_id     = "vpc-1"
  subnet_ids = ["subnet-a", "subnet-b", "subnet-c"]
  clients    = { cluster = "sg-cluster" }
  backup     = true
}

run "file_system" {
  module {
    source = "./modules/storage"
  }

  assert {
    condition     = aws_efs_file_system.this.encrypted && aws_efs_file_system.this.kms_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "Encrypted with a key of its own, which rotates."
  }
  assert {
    condition     = aws_efs_file_system.this.throughput_mode == "elastic"
    error_message = "Fast when it is needed, and paid only then."
  }
  assert {
    condition     = [for target in aws_efs_mount_target.this : target.subnet_id] == ["subnet-a", "subnet-b", "subnet-c"] && alltrue([for target in aws_efs_mount_target.this : target.security_groups == toset([aws_security_group.this.id])])
    error_message = "A mount target in each zone, behind the security group."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.client : rule.referenced_security_group_id == "sg-cluster" && rule.cidr_ipv4 == null && rule.from_port == 2049 && rule.to_port == 2049]) && length(aws_vpc_security_group_ingress_rule.client) == 1
    error_message = "NFS from the cluster, from no address."
  }
  assert {
    condition     = aws_efs_backup_policy.this[0].backup_policy[0].status == "ENABLED"
    error_message = "Backed up every day."
  }
  assert {
    condition     = compact([for policy in aws_efs_file_system.this.lifecycle_policy : policy.transition_to_ia]) == tolist(["AFTER_30_DAYS"])
    error_message = "What nobody reads for thirty days gets cheaper."
  }

  # never in plain
  assert {
    condition     = { for statement in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : statement.Sid => [statement.Effect, statement.Condition] } == { MountTargetsOnly = ["Allow", { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } }], NeverInPlain = ["Deny", { Bool = { "aws:SecureTransport" = "false" } }] }
    error_message = "Over mount targets only, and encrypted only."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : statement.Action == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientRootAccess", "elasticfilesystem:ClientWrite"] && statement.Resource == "arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0"])
    error_message = "Of this file system, and no more than to use it."
  }

  # without the driver's roles
  assert {
    condition     = alltrue([for class in output.storage_classes : class.mountOptions == tolist(["tls"])])
    error_message = "Encrypted."
  }

  # storage classes
  assert {
    condition     = { for name, class in output.storage_classes : name => class.reclaimPolicy } == { efs-branch = "Delete", efs-prod = "Retain" }
    error_message = "A branch's files go with it; prod's stay."
  }
  assert {
    condition = output.storage_classes.efs-branch.parameters == {
      provisioningMode      = "efs-ap"
      fileSystemId          = "fs-0123456789abcdef0"
      directoryPerms        = "770"
      uid                   = "33"
      gid                   = "33"
      subPathPattern        = "$${.PVC.namespace}/$${.PVC.name}"
      ensureUniqueDirectory = "true"
      basePath              = "/branches"
    }
    error_message = "An access point per claim, of the images' user, under namespace and claim."
  }
  assert {
    condition     = output.storage_classes.efs-prod.parameters.basePath == "/prod"
    error_message = "Prod apart from branches."
  }
}

run "mounted_by_the_driver_alone" {
  variables {
    driver = {
      node_role_arn       = "arn:aws:iam::222233334444:role/node-driver"
      controller_role_arn = "arn:aws:iam::222233334444:role/controller"
    }
  }
  module {
    source = "./modules/storage"
  }

  assert {
    condition = { for one in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : one.Sid => one.Principal.AWS if one.Effect == "Allow" } == {
      NodesMountForPods        = "arn:aws:iam::222233334444:role/node-driver"
      ControllerRemovesFolders = "arn:aws:iam::222233334444:role/controller"
    }
    error_message = "Nobody is allowed but the driver's two roles."
  }
  assert {
    condition = alltrue([
      for one in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement :
      one.Condition == { Bool = { "elasticfilesystem:AccessedViaMountTarget" = "true" } } if one.Effect == "Allow"
    ])
    error_message = "Over mount targets only."
  }
  assert {
    condition     = one([for one in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : one.Action if one.Sid == "NodesMountForPods"]) == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    error_message = "A node is nobody's root."
  }
  assert {
    condition = { for one in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : one.Sid => jsonencode(one.Condition) if one.Effect == "Deny" } == {
      NobodyElse              = jsonencode({ ArnNotEquals = { "aws:PrincipalArn" = ["arn:aws:iam::222233334444:role/node-driver", "arn:aws:iam::222233334444:role/controller"] } })
      ThroughAccessPointsOnly = jsonencode({ ArnNotEquals = { "aws:PrincipalArn" = "arn:aws:iam::222233334444:role/controller" }, Null = { "elasticfilesystem:AccessPointArn" = "true" } })
      NoRootButToRemove       = jsonencode({ ArnNotEquals = { "aws:PrincipalArn" = "arn:aws:iam::222233334444:role/controller" } })
      NeverInPlain            = jsonencode({ Bool = { "aws:SecureTransport" = "false" } })
    }
    error_message = "Not anonymously, not past an access point, not as root, not in plain."
  }
  assert {
    condition     = alltrue([for one in jsondecode(aws_efs_file_system_policy.this[0].policy).Statement : one.Principal == { AWS = "*" } && contains(one.Action, "elasticfilesystem:ClientRootAccess") && one.Resource == aws_efs_file_system.this.arn if one.Effect == "Deny"])
    error_message = "Whoever else a policy of IAM allows it."
  }
  assert {
    condition     = alltrue([for class in output.storage_classes : class.mountOptions == tolist(["tls", "iam"])])
    error_message = "A mount says whose it is."
  }
  assert {
    condition     = alltrue([for class in output.storage_classes : class.parameters.uid == "33" && class.parameters.gid == "33" && class.parameters.provisioningMode == "efs-ap"])
    error_message = "Every access point replaces the user, root too."
  }
}

run "without_extras" {
  variables {
    backup                 = false
    enforce_tls            = false
    infrequent_access_days = 0
  }
  module {
    source = "./modules/storage"
  }

  assert {
    condition     = length(aws_efs_backup_policy.this) == 0 && length(aws_efs_file_system_policy.this) == 0 && length(aws_efs_file_system.this.lifecycle_policy) == 0
    error_message = "Each can be left out."
  }
  assert {
    condition     = aws_efs_file_system.this.encrypted
    error_message = "Encryption cannot."
  }
}

run "wrong_values" {
  command = plan
  variables {
    infrequent_access_days = 20                       # not a period
    clients                = {}                       # nobody mounts
    subnet_ids             = ["subnet-a", "subnet-b"] # one zone without
  }
  module {
    source = "./modules/storage"
  }
  expect_failures = [var.infrequent_access_days, var.clients, var.subnet_ids]
}
