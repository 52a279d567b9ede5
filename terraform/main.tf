data "aws_partition" "current" {}

locals {
  name = "${var.project}-${var.stack}"

  tags = merge(var.tags, {
    Project   = var.project
    Stack     = var.stack
    ManagedBy = "terraform"
  })

  parameter_path = "/mautic-multidev/${var.stack}"

  # Kubernetes groups that CI enters the cluster with; the platform's RBAC says what they may do. Where
  # the cluster takes GitLab's tokens there are none: each branch is a user.
  has_identity = var.gitlab.cluster_audience != null
  members = local.has_identity ? {} : merge(
    { main = { role_arn = module.ci.main_role_arn, groups = ["mautic-multidev:main"] } },
    length(var.gitlab.branch_refs) == 0 ? {} : {
      branches = { role_arn = module.ci.branches_role_arn, groups = ["mautic-multidev:branches"] }
    },
  )

  database_service_account = "mautic-database-admin"

  # Every role of a stack that jobs may change has it.
  boundary_arn = one(module.infrastructure[*].boundary_arn)
}

module "network" {
  source = "./modules/network"

  permissions_boundary = local.boundary_arn

  name          = local.name
  cidr          = var.cidr
  zones         = var.zones
  nat           = var.nat
  flow_log_days = var.flow_log_days
}

module "registry" {
  source = "./modules/registry"

  name          = local.name
  untagged_days = var.registry.untagged_days
  cache_days    = var.registry.cache_days
  force_delete  = !var.protected
}

module "dns" {
  source = "./modules/dns"

  domain               = var.domain
  zone_id              = var.zone_id
  wait_for_certificate = var.wait_for_certificate
  load_balancer        = var.load_balancer
}

module "storage" {
  source = "./modules/storage"

  name                   = local.name
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.private_subnet_ids
  clients                = { cluster = module.cluster.security_group_id }
  backup                 = var.files.backup
  enforce_tls            = var.files.enforce_tls
  driver                 = var.files.enforce_tls ? module.cluster.efs_csi_roles : null
  infrequent_access_days = var.files.infrequent_access_days
}

module "cluster" {
  source = "./modules/cluster"

  permissions_boundary = local.boundary_arn

  name               = local.name
  kubernetes_version = var.kubernetes_version
  support_type       = var.support_type
  subnet_ids         = module.network.private_subnet_ids
  api_cidrs          = var.api_cidrs
  nodes              = var.nodes
  admins             = var.admins
  addon_versions     = var.addon_versions
  log_days           = var.log_days
  file_system_arn    = module.storage.file_system_arn
  tags               = local.tags

  members = local.members
  identity = !local.has_identity ? null : {
    issuer_url   = var.gitlab.url
    audience     = var.gitlab.cluster_audience
    project_path = var.gitlab.project_path
    ref          = length(var.gitlab.branch_refs) == 0 ? var.gitlab.main_ref : null
  }
}

module "database" {
  source = "./modules/database"

  permissions_boundary = local.boundary_arn

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.data_subnet_ids
  clients              = { cluster = module.cluster.security_group_id }
  protected            = var.protected
  engine_version       = var.database.engine_version
  instance_class       = var.database.instance_class
  storage_gib          = var.database.storage_gib
  multi_az             = var.database.multi_az
  backup_days          = var.database.backup_days
  performance_insights = var.database.performance_insights
  monitoring_seconds   = var.database.monitoring_seconds
  parameters           = var.database.parameters
}

module "ci" {
  source = "./modules/ci"

  permissions_boundary = local.boundary_arn

  name            = local.name
  gitlab_url      = var.gitlab.url
  audience        = var.gitlab.audience
  provider_arn    = var.gitlab.provider_arn
  project_path    = var.gitlab.project_path
  main_ref        = var.gitlab.main_ref
  branch_refs     = var.gitlab.branch_refs
  repository_arns = module.registry.repository_arns
  cluster_arn     = "arn:${data.aws_partition.current.partition}:eks:${var.region}:${var.account_id}:cluster/${local.name}"
  file_system_arn = module.storage.file_system_arn
  parameter_path  = local.parameter_path

  # Where branches share a server, each has snapshots of its own database instead.
  database_identifier = var.protected ? module.database.identifier : null
}

# Jobs that run Terraform. Its first apply is an administrator's: no role makes itself.
module "infrastructure" {
  source = "./modules/infrastructure"
  count  = var.infrastructure == null ? 0 : 1

  name         = local.name
  stack        = var.stack
  provider_arn = module.ci.provider_arn
  audience     = var.gitlab.audience
  subject      = module.ci.main_subject
  state_bucket = var.infrastructure.state_bucket
}

# The administrator's password is read in the cluster, by one service account, and nowhere else.
module "database_identity" {
  source = "./modules/pod-identity"

  permissions_boundary = local.boundary_arn

  name            = "${local.name}-database-admin"
  cluster_name    = module.cluster.name
  namespace       = var.platform_namespace
  service_account = local.database_service_account
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadAdminSecret"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [module.database.admin_secret_arn]
      },
      {
        Sid      = "DecryptAdminSecret"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [module.database.key_arn]
        Condition = {
          StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" }
        }
      },
    ]
  })
}

module "load_balancer_identity" {
  source = "./modules/pod-identity"

  permissions_boundary = local.boundary_arn

  name            = "${local.name}-load-balancers"
  cluster_name    = module.cluster.name
  namespace       = "kube-system"
  service_account = "aws-load-balancer-controller"
  policy          = local.load_balancer_policy
}

# Signs what is stated of images: signing_key of invoke.yaml.
module "signing" {
  source = "./modules/signing"
  count  = var.signing == null ? 0 : 1

  name          = local.name
  signer_arn    = module.ci.main_role_arn
  verifier_arns = var.signing.verifier_arns
}

module "budget" {
  source = "./modules/budget"
  count  = var.budget == null ? 0 : 1

  name        = local.name
  monthly_usd = var.budget.monthly_usd
  emails      = var.budget.emails
  cost_tag    = var.budget.by_stack ? "Stack$${var.stack}" : null
}

module "parameters" {
  source = "./modules/parameters"

  path = local.parameter_path
  values = merge(
    {
      "region"                           = var.region
      "registry/url"                     = module.registry.url
      "registry/mautic"                  = module.registry.repository_urls["mautic"]
      "registry/nginx"                   = module.registry.repository_urls["nginx"]
      "registry/cache"                   = module.registry.repository_urls["cache"]
      "cluster/name"                     = module.cluster.name
      "network/vpc-id"                   = module.network.vpc_id
      "database/host"                    = module.database.host
      "database/port"                    = tostring(module.database.port)
      "database/identifier"              = module.database.identifier
      "database/admin-secret-arn"        = module.database.admin_secret_arn
      "storage/file-system-id"           = module.storage.file_system_id
      "storage/classes"                  = jsonencode(module.storage.storage_classes)
      "dns/domain"                       = module.dns.domain
      "dns/zone-id"                      = module.dns.zone_id
      "dns/certificate-arn"              = module.dns.certificate_arn
      "platform/namespace"               = var.platform_namespace
      "platform/database-role-arn"       = module.database_identity.role_arn
      "platform/database-account"        = local.database_service_account
      "platform/load-balancers-role-arn" = module.load_balancer_identity.role_arn
      "platform/efs-csi-role-arn"        = module.cluster.efs_csi_role_arn
      "ci/main-role-arn"                 = module.ci.main_role_arn
    },
    { for name, member in local.members : "cluster/groups/${name}" => member.groups[0] },
    !local.has_identity ? {} : {
      "cluster/identity/project"  = var.gitlab.project_path
      "cluster/identity/main-ref" = var.gitlab.main_ref
    },
    length(var.gitlab.branch_refs) == 0 ? {} : {
      "ci/branches-role-arn" = module.ci.branches_role_arn
    },
  )
}
