data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  log_group = "/aws/eks/${var.name}/cluster"

  node_policies = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])
}

resource "aws_kms_key" "this" {
  description             = "Kubernetes secrets and control plane logs of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "IamDecides"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*" # in a key's own policy this is the key
      },
      {
        Sid       = "ControlPlaneLogs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*" # in a key's own policy this is the key
        Condition = {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-cluster"
  target_key_id = aws_kms_key.this.key_id
}

# Made before EKS makes it: without a limit, and in plain.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long they are kept is a variable, with its price in docs/infrastructure.md
  name              = local.log_group
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_iam_role" "cluster" {
  name                 = "${var.name}-cluster"
  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ControlPlane"
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "eks.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role_policy" "cluster" {
  name = "secrets-key"
  role = aws_iam_role.cluster.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "EncryptSecrets"
      Effect   = "Allow"
      Action   = ["kms:Encrypt", "kms:Decrypt", "kms:ListGrants", "kms:DescribeKey"]
      Resource = [aws_kms_key.this.arn]
    }]
  })
}

resource "aws_eks_cluster" "this" {
  #checkov:skip=CKV_AWS_39:the endpoint is public only where api_cidrs says for whom
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false

  vpc_config {
    subnet_ids              = var.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.api_cidrs) > 0
    public_access_cidrs     = length(var.api_cidrs) > 0 ? var.api_cidrs : null
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false # admins are those named, whoever applies
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.this.arn
    }
  }

  upgrade_policy {
    support_type = var.support_type
  }

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy.cluster,
    aws_iam_role_policy_attachment.cluster,
  ]
}

# --- who may enter -------------------------------------------------------------------------------

resource "aws_eks_access_entry" "admin" {
  for_each = var.admins

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.key
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = var.admins

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.key].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# EKS' own policies are too much or too little for CI: one that may create namespaces may read every
# secret. These entries give groups only; RBAC that comes with the platform says what they may do.
resource "aws_eks_access_entry" "member" {
  for_each = var.members

  cluster_name      = aws_eks_cluster.this.name
  principal_arn     = each.value.role_arn
  kubernetes_groups = each.value.groups
}

# Or, in place of groups: each branch's jobs are a user of their own, by the token that GitLab signs.
# Tokens of other projects, and of tags, are nobody's.
resource "aws_eks_identity_provider_config" "gitlab" {
  count = var.identity == null ? 0 : 1

  cluster_name = aws_eks_cluster.this.name

  oidc {
    identity_provider_config_name = "gitlab"
    issuer_url                    = var.identity.issuer_url
    client_id                     = var.identity.audience
    username_claim                = "sub"
    username_prefix               = "gitlab:"
    groups_claim                  = "project_path"
    groups_prefix                 = "gitlab:"
    required_claims = merge(
      { project_path = var.identity.project_path, ref_type = "branch" },
      var.identity.ref == null ? {} : { ref = var.identity.ref },
    )
  }
}

# --- nodes ---------------------------------------------------------------------------------------

resource "aws_iam_role" "node" {
  name                 = "${var.name}-node"
  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Nodes"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = local.node_policies

  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

resource "aws_launch_template" "node" {
  name_prefix            = "${var.name}-node-"
  update_default_version = true

  # One hop: a pod cannot reach the node's credentials. Pods have roles of their own.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = startswith(var.nodes.ami_type, "BOTTLEROCKET") ? "/dev/xvdb" : "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.nodes.disk_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(var.tags, { Name = "${var.name}-node" })
    }
  }
}

resource "aws_eks_node_group" "workers" {
  cluster_name           = aws_eks_cluster.this.name
  node_group_name_prefix = "workers-"
  node_role_arn          = aws_iam_role.node.arn
  subnet_ids             = var.subnet_ids
  version                = var.kubernetes_version
  ami_type               = var.nodes.ami_type
  capacity_type          = var.nodes.capacity_type
  instance_types         = var.nodes.instance_types

  scaling_config {
    desired_size = var.nodes.desired
    min_size     = var.nodes.min
    max_size     = var.nodes.max
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true
  }

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  lifecycle {
    create_before_destroy = true
  }

  # Without a network a node never becomes Ready, and the node group never finished.
  depends_on = [
    aws_eks_addon.before_nodes,
    aws_iam_role_policy_attachment.node,
    module.cni_identity,
  ]
}

# --- add-ons -------------------------------------------------------------------------------------

module "cni_identity" {
  source = "../pod-identity"

  permissions_boundary = var.permissions_boundary

  name               = "${var.name}-vpc-cni"
  cluster_name       = aws_eks_cluster.this.name
  namespace          = "kube-system"
  service_account    = "aws-node"
  managed_policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKS_CNI_Policy"
}

module "efs_csi_identity" {
  source = "../pod-identity"

  permissions_boundary = var.permissions_boundary

  name            = "${var.name}-efs-csi"
  cluster_name    = aws_eks_cluster.this.name
  namespace       = "kube-system"
  service_account = "efs-csi-controller-sa"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "FindZones"
        Effect   = "Allow"
        Action   = ["ec2:DescribeAvailabilityZones"]
        Resource = "*" # EC2 knows no resource for this action
      },
      {
        Sid      = "ReadFileSystem"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:DescribeAccessPoints", "elasticfilesystem:DescribeFileSystems", "elasticfilesystem:DescribeMountTargets"]
        Resource = [var.file_system_arn, local.access_points]
      },
      {
        Sid      = "MakeAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:CreateAccessPoint"]
        Resource = [var.file_system_arn]
        Condition = {
          StringEquals = { "aws:RequestTag/efs.csi.aws.com/cluster" = "true" }
        }
      },
      {
        Sid      = "TagNewAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:TagResource"]
        Resource = [local.access_points]
        Condition = {
          StringEquals = { "elasticfilesystem:CreateAction" = "CreateAccessPoint" }
        }
      },
      {
        Sid      = "DeleteOwnAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:DeleteAccessPoint"]
        Resource = [local.access_points]
        Condition = {
          StringEquals = { "aws:ResourceTag/efs.csi.aws.com/cluster" = "true" }
        }
      },
    ]
  })
}

# It mounts volumes for pods, as they say by the mount option "iam".
module "efs_csi_node_identity" {
  source = "../pod-identity"

  permissions_boundary = var.permissions_boundary

  name            = "${var.name}-efs-csi-node"
  cluster_name    = aws_eks_cluster.this.name
  namespace       = "kube-system"
  service_account = "efs-csi-node-sa"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "MountThroughAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
        Resource = [var.file_system_arn]
        Condition = {
          ArnLike = { "elasticfilesystem:AccessPointArn" = local.access_points }
        }
      },
    ]
  })
}

locals {
  access_points = "arn:${local.partition}:elasticfilesystem:${local.region}:${local.account}:access-point/*"

  # These run on every node and must be there before the first one; the others need a node.
  addons_before_nodes = {
    kube-proxy             = null
    eks-pod-identity-agent = null
    # NetworkPolicies are enforced, and a node gets prefixes of 16 addresses instead of single ones:
    # a t3.large then holds 110 pods instead of 35.
    vpc-cni = {
      enableNetworkPolicy = "true"
      env                 = { ENABLE_PREFIX_DELEGATION = "true" }
    }
  }
  addons_on_nodes = {
    coredns        = null
    metrics-server = null
    # The data of a branch goes with its volume. Volumes of class efs-prod are retained as a whole.
    aws-efs-csi-driver = {
      controller = { deleteAccessPointRootDir = true }
    }
  }
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.addons_before_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = each.value == null ? null : jsonencode(each.value)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [module.cni_identity]
}

resource "aws_eks_addon" "on_nodes" {
  for_each = local.addons_on_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = each.value == null ? null : jsonencode(each.value)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  # A pod gets its role when it starts: the association must be older than the driver's pods.
  depends_on = [aws_eks_node_group.workers, module.efs_csi_identity, module.efs_csi_node_identity]
}
