data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # Who administers the account may change this policy. But no policy of IAM gives anybody a
  # signature: no statement leaves that to IAM, as KMS' default policy does.
  administration = [
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:GetPublicKey",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:UpdateKeyDescription",
  ]

  algorithm = { StringEquals = { "kms:SigningAlgorithm" = "ECDSA_SHA_256" } }
}

resource "aws_kms_key" "this" {
  description              = "What is stated of images of ${var.name}"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_P256"
  deletion_window_in_days  = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AdministerWithoutSigning"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
        Action    = local.administration
        Resource  = "*" # a key policy is about its own key
      },
      {
        Sid       = "Sign"
        Effect    = "Allow"
        Principal = { AWS = var.signer_arn }
        Action    = "kms:Sign"
        Resource  = "*" # a key policy is about its own key
        Condition = local.algorithm
      },
      {
        Sid       = "Verify"
        Effect    = "Allow"
        Principal = { AWS = sort(distinct(concat([var.signer_arn], var.verifier_arns))) }
        Action    = "kms:Verify"
        Resource  = "*" # a key policy is about its own key
        Condition = local.algorithm
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-images"
  target_key_id = aws_kms_key.this.key_id
}
