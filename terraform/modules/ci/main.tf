data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  issuer       = trimprefix(var.gitlab_url, "https://")
  provider_arn = var.provider_arn == null ? aws_iam_openid_connect_provider.gitlab[0].arn : var.provider_arn
  rds          = "arn:${data.aws_partition.current.partition}:rds:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  parameters   = "arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:parameter${var.parameter_path}"

  # GitLab's claim: project_path:group/project:ref_type:branch:ref:main. Tags are never trusted:
  # in most projects more people may make one than may push to a protected branch.
  subject = "project_path:${var.project_path}:ref_type:branch:ref:"

  audience = { "${local.issuer}:aud" = var.audience }

  # One full name for main, which is compared as it is; patterns for branches.
  roles = merge(
    {
      main = {
        refs = [var.main_ref]
        condition = {
          StringEquals = merge(local.audience, { "${local.issuer}:sub" = "${local.subject}${var.main_ref}" })
        }
      }
    },
    length(var.branch_refs) == 0 ? {} : {
      branches = {
        refs = var.branch_refs
        condition = {
          StringEquals = local.audience
          StringLike   = { "${local.issuer}:sub" = [for ref in var.branch_refs : "${local.subject}${ref}"] }
        }
      }
    },
  )

  # What a job does in AWS itself is the same for both roles. What they may do in the cluster
  # differs: each enters it with a Kubernetes group of its own.
  statements = concat(
    [
      {
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"] # a token is for the registry as a whole; what it may do is said below
      },
      {
        Sid    = "BuildAndTag"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:DescribeImageScanFindings",
          "ecr:DescribeImages",
          "ecr:DescribeRepositories",
          "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload",
          "ecr:ListImages",
          "ecr:PutImage",
          "ecr:StartImageScan",
          "ecr:UploadLayerPart",
        ]
        Resource = sort(values(var.repository_arns))
      },
      {
        Sid      = "RemoveTags"
        Effect   = "Allow"
        Action   = ["ecr:BatchDeleteImage"]
        Resource = sort([for key, arn in var.repository_arns : arn if key != "cache"])
      },
      {
        Sid      = "ReadStackSettings"
        Effect   = "Allow"
        Action   = ["ssm:GetParametersByPath"]
        Resource = [local.parameters, "${local.parameters}/*"]
      },
    ],
    var.cluster_arn == null ? [] : [
      {
        Sid      = "FindCluster"
        Effect   = "Allow"
        Action   = ["eks:DescribeCluster"]
        Resource = [var.cluster_arn]
      },
    ],
    var.file_system_arn == null ? [] : [
      {
        Sid      = "CountAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:DescribeAccessPoints"]
        Resource = [var.file_system_arn]
      },
    ],
  )

  # Before a migration the main branch's deploy takes a snapshot of the whole server. It removes none
  # but those that bear the suite's tag and name; tasks/core/server_snapshots.py makes both.
  instance  = coalesce(var.database_identifier, "none")
  snapshots = "${local.rds}:snapshot:${local.instance}-at-*"
  snapshot_statements = [
    {
      Sid      = "LookAtDatabase"
      Effect   = "Allow"
      Action   = ["rds:DescribeDBInstances", "rds:DescribeDBSnapshots"]
      Resource = ["${local.rds}:db:${local.instance}", "${local.rds}:snapshot:*"]
    },
    {
      Sid      = "TakeSnapshots"
      Effect   = "Allow"
      Action   = ["rds:CreateDBSnapshot"]
      Resource = ["${local.rds}:db:${local.instance}", local.snapshots]
    },
    {
      Sid      = "TagSnapshots"
      Effect   = "Allow"
      Action   = ["rds:AddTagsToResource", "rds:ListTagsForResource"]
      Resource = [local.snapshots]
    },
    {
      Sid       = "RemoveOwnSnapshots"
      Effect    = "Allow"
      Action    = ["rds:DeleteDBSnapshot"]
      Resource  = [local.snapshots]
      Condition = { Null = { "aws:ResourceTag/mautic-multidev/environment" = "false" } }
    },
  ]
}

resource "aws_iam_openid_connect_provider" "gitlab" {
  count = var.provider_arn == null ? 1 : 0

  url            = var.gitlab_url
  client_id_list = [var.audience]
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name                 = "${var.name}-ci-${each.key}"
  description          = "GitLab jobs of ${var.project_path} on ${join(", ", each.value.refs)}"
  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "GitlabJobs"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.provider_arn }
      Condition = each.value.condition
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = aws_iam_role.this

  name = "jobs"
  role = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.statements,
      [for one in local.snapshot_statements : one if each.key == "main" && var.database_identifier != null],
    )
  })
}
