data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  issuer = split(":oidc-provider/", var.provider_arn)[1]
  iam    = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}"
  bucket = "arn:${data.aws_partition.current.partition}:s3:::${var.state_bucket}"

  role     = "${local.iam}:role/${var.name}-ci-infrastructure"
  own      = "${local.iam}:policy/${var.name}-infrastructure"
  boundary = "${local.iam}:policy/${var.name}-boundary"
}

# What no role of the stack may ever do, whatever is attached to it.
resource "aws_iam_policy" "boundary" {
  name        = "${var.name}-boundary"
  description = "Boundary of every role of ${var.name}: nothing in IAM, nothing of Terraform's state"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "NothingInIam"
        Effect    = "Allow"
        NotAction = ["iam:*", "organizations:*", "account:*"]
        Resource  = "*" # what a boundary allows, no role has by that
      },
      {
        Sid      = "WhatControllersAsk"
        Effect   = "Allow"
        Action   = ["iam:CreateServiceLinkedRole", "iam:GetRole", "iam:GetServerCertificate", "iam:ListAttachedRolePolicies", "iam:ListServerCertificates"]
        Resource = "*" # the controllers look at certificates and roles of any name
      },
      {
        Sid      = "NotTheState"
        Effect   = "Deny"
        Action   = "s3:*"
        Resource = [local.bucket, "${local.bucket}/*"]
      },
    ]
  })
}

resource "aws_iam_policy" "own" {
  name        = "${var.name}-infrastructure"
  description = "What jobs may do that run Terraform on ${var.name}, and the boundary of their role"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Stack"
        Effect = "Allow"
        Action = [
          "acm:*", "backup:*", "backup-storage:*", "budgets:*", "ec2:*", "ecr:*", "eks:*",
          "elasticfilesystem:*", "kms:*", "logs:*", "rds:*", "route53:*", "ssm:*Parameter*",
          "ssm:*TagsForResource", "secretsmanager:CreateSecret", "secretsmanager:DescribeSecret",
          "secretsmanager:RotateSecret", "secretsmanager:TagResource", "sts:GetCallerIdentity",
        ]
        Resource = "*" # most of these take no resource when they create one; the Deny below keeps to this stack's tag
      },
      {
        Sid      = "Look"
        Effect   = "Allow"
        Action   = ["iam:Get*", "iam:List*"]
        Resource = "*" # a plan reads every role and policy it refers to
      },
      {
        Sid    = "MakeBoundRoles"
        Effect = "Allow"
        Action = [
          "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
          "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
        ]
        Resource  = "${local.iam}:role/${var.name}-*"
        Condition = { StringEquals = { "iam:PermissionsBoundary" = local.boundary } }
      },
      {
        Sid      = "KeepOwnRoles"
        Effect   = "Allow"
        Action   = ["iam:DeleteRole", "iam:PassRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription"]
        Resource = "${local.iam}:role/${var.name}-*"
      },
      {
        Sid      = "ServiceLinkedRoles"
        Effect   = "Allow"
        Action   = ["iam:CreateServiceLinkedRole"]
        Resource = "${local.iam}:role/aws-service-role/*"
      },
      {
        Sid      = "OwnState"
        Effect   = "Allow"
        Action   = ["s3:GetBucketLocation", "s3:ListBucket"]
        Resource = local.bucket
      },
      {
        Sid      = "OwnStateObjects"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = "${local.bucket}/*"
      },
      {
        Sid       = "NotItself"
        Effect    = "Deny"
        NotAction = ["iam:Get*", "iam:List*"]
        Resource  = [local.role, local.own, local.boundary]
      },
      {
        Sid       = "NotOtherStacks"
        Effect    = "Deny"
        Action    = "*"
        Resource  = "*" # by tag: which resources these are is not known beforehand
        Condition = { StringNotEquals = { "aws:ResourceTag/Stack" = var.stack }, Null = { "aws:ResourceTag/Stack" = "false" } }
      },
    ]
  })
}

resource "aws_iam_role" "this" {
  name                 = "${var.name}-ci-infrastructure"
  description          = "GitLab jobs of the main branch that run Terraform on ${var.name}"
  permissions_boundary = aws_iam_policy.own.arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "GitlabJobsOfMain"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = var.provider_arn }
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = var.audience
          "${local.issuer}:sub" = var.subject
        }
      }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "own" {
  role       = aws_iam_role.this.name
  policy_arn = aws_iam_policy.own.arn
}
