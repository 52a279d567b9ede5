mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name          = "mautic-prod"
  signer_arn    = "arn:aws:iam::123456789012:role/mautic-prod-ci-main"
  verifier_arns = ["arn:aws:iam::123456789012:user/release"]
}

run "one_role_signs" {
  module {
    source = "./modules/signing"
  }

  assert {
    condition     = aws_kms_key.this.key_usage == "SIGN_VERIFY" && aws_kms_key.this.customer_master_key_spec == "ECC_NIST_P256"
    error_message = "The kind of key that the suite signs with."
  }
  assert {
    condition = [
      for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Principal.AWS
      if anytrue([for action in flatten([statement.Action]) : contains(["kms:Sign", "kms:*", "*", "kms:CreateGrant", "kms:S*"], action)])
    ] == ["arn:aws:iam::123456789012:role/mautic-prod-ci-main"]
    error_message = "Nobody signs, or lets others sign, but the main branch's jobs."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.this.policy).Statement : alltrue([for action in flatten([statement.Action]) : !strcontains(action, "*")])])
    error_message = "No action by a wildcard, which could hold more than is meant."
  }
  assert {
    condition     = toset([for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Principal.AWS if statement.Sid == "Verify"][0]) == toset(["arn:aws:iam::123456789012:role/mautic-prod-ci-main", "arn:aws:iam::123456789012:user/release"])
    error_message = "Whoever deploys checks signatures."
  }
  assert {
    condition     = aws_kms_alias.this.name == "alias/mautic-prod-images"
    error_message = "A name that outlives the key."
  }
}

run "wildcards" {
  command = plan
  variables {
    signer_arn    = "arn:aws:iam::123456789012:role/mautic-*"
    verifier_arns = ["*"]
  }
  module {
    source = "./modules/signing"
  }
  expect_failures = [var.signer_arn, var.verifier_arns]
}
