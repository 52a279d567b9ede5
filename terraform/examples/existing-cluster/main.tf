# For a cluster that is already there, on EKS or elsewhere: network, registry, files, database, CI
# roles and the settings in SSM, without a cluster, domain and pod roles of its own. What the suite
# does not find in SSM is said in invoke.yaml.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Partial, as in the root.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project   = "mautic"
      Stack     = var.stack
      ManagedBy = "terraform"
    }
  }
}

variable "stack" {
  description = "Name of the stack."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "gitlab_project" {
  description = "Path of the GitLab project whose jobs build and deploy."
  type        = string
}

variable "with_database" {
  description = "Whether there is a database server in this stack."
  type        = bool
  default     = true
}

variable "backup" {
  description = "Whether the files are backed up every day."
  type        = bool
  default     = true
}

variable "enforce_tls" {
  description = "Refuse every mount that is not encrypted."
  type        = bool
  default     = true
}

locals {
  name = "mautic-${var.stack}"
  path = "/mautic-multidev/${var.stack}"
}

module "network" {
  source = "../../modules/network"

  name = local.name
  cidr = "10.40.0.0/16"
  nat  = "single"
}

# Members of this group reach files and database: give it to the cluster's nodes.
resource "aws_security_group" "nodes" {
  #checkov:skip=CKV2_AWS_5:it is attached by whoever runs the cluster
  name        = "${local.name}-nodes"
  description = "Nodes of the cluster"
  vpc_id      = module.network.vpc_id
}

module "registry" {
  source = "../../modules/registry"

  name         = local.name
  force_delete = true
}

module "storage" {
  source = "../../modules/storage"

  name        = local.name
  vpc_id      = module.network.vpc_id
  subnet_ids  = module.network.private_subnet_ids
  clients     = { cluster = aws_security_group.nodes.id }
  backup      = var.backup
  enforce_tls = var.enforce_tls
}

module "database" {
  source = "../../modules/database"
  count  = var.with_database ? 1 : 0

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.data_subnet_ids
  clients              = { cluster = aws_security_group.nodes.id }
  instance_class       = "db.t4g.medium"
  storage_gib          = { initial = 20, max = 100 }
  multi_az             = false
  protected            = false
  backup_days          = 7
  performance_insights = true
}

module "ci" {
  source = "../../modules/ci"

  name            = local.name
  project_path    = var.gitlab_project
  main_ref        = "main"
  branch_refs     = ["*"]
  repository_arns = module.registry.repository_arns
  parameter_path  = local.path
}

module "parameters" {
  source = "../../modules/parameters"

  path = local.path
  values = merge(
    {
      "region"                 = var.region
      "registry/url"           = module.registry.url
      "registry/mautic"        = module.registry.repository_urls["mautic"]
      "registry/nginx"         = module.registry.repository_urls["nginx"]
      "registry/cache"         = module.registry.repository_urls["cache"]
      "network/vpc-id"         = module.network.vpc_id
      "storage/file-system-id" = module.storage.file_system_id
      "storage/classes"        = jsonencode(module.storage.storage_classes)
      "ci/main-role-arn"       = module.ci.main_role_arn
      "ci/branches-role-arn"   = module.ci.branches_role_arn
    },
    var.with_database ? {
      "database/host"             = module.database[0].host
      "database/port"             = tostring(module.database[0].port)
      "database/identifier"       = module.database[0].identifier
      "database/admin-secret-arn" = module.database[0].admin_secret_arn
    } : {},
  )
}

output "parameter_path" {
  description = "SSM path that the suite reads the stack's settings from."
  value       = module.parameters.path
}

output "node_security_group_id" {
  description = "Security group to give to the cluster's nodes."
  value       = aws_security_group.nodes.id
}

output "registry_url" {
  description = "Host and path below which the repositories mautic, nginx, seed-* and cache live."
  value       = module.registry.url
}

output "repository_arns" {
  description = "The repositories."
  value       = module.registry.repository_arns
}

output "file_system_id" {
  description = "The EFS file system."
  value       = module.storage.file_system_id
}
