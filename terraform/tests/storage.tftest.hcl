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
