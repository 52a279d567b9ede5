mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "mautic-prod"
  stack        = "prod"
  provider_arn = "arn:aws:iam::222233334444:oidc-provider/gitlab.com"
  audience     = "https://gitlab.com"
  subject      = "project_path:group/project:ref_type:branch:ref:main"
  state_bucket = "mautic-terraform-prod"
}

run "who_is_trusted" {
  module {
    source = "./modules/infrastructure"
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Sid       = "GitlabJobsOfMain"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::222233334444:oidc-provider/gitlab.com" }
      Condition = {
        StringEquals = {
          "gitlab.com:aud" = "https://gitlab.com"
          "gitlab.com:sub" = "project_path:group/project:ref_type:branch:ref:main"
        }
      }
    }]
    error_message = "Exactly the main branch, by StringEquals."
  }
  assert {
    condition     = aws_iam_role.this.permissions_boundary == aws_iam_policy.own.arn && aws_iam_role_policy_attachment.own.policy_arn == aws_iam_policy.own.arn
    error_message = "Its policy is its boundary, too."
  }
}

run "what_it_may_do" {
  module {
    source = "./modules/infrastructure"
  }

  assert {
    condition = { for one in jsondecode(aws_iam_policy.own.policy).Statement : one.Sid => one.Condition if can(one.Condition) } == {
      MakeBoundRoles = { StringEquals = { "iam:PermissionsBoundary" = "arn:aws:iam::222233334444:policy/mautic-prod-boundary" } }
      NotOtherStacks = { StringNotEquals = { "aws:ResourceTag/Stack" = "prod" }, Null = { "aws:ResourceTag/Stack" = "false" } }
    }
    error_message = "Roles only with the boundary; nothing of another stack."
  }
  assert {
    condition = flatten([
      for one in jsondecode(aws_iam_policy.own.policy).Statement : one.Resource
      if one.Effect == "Allow" && anytrue([for action in flatten([try(one.Action, [])]) : startswith(action, "s3:")])
    ]) == ["arn:aws:s3:::mautic-terraform-prod", "arn:aws:s3:::mautic-terraform-prod/*"]
    error_message = "Its own state's bucket, and no other."
  }
  assert {
    condition = { for one in jsondecode(aws_iam_policy.own.policy).Statement : one.Sid => one.Resource if one.Effect == "Deny" }["NotItself"] == [
      "arn:aws:iam::222233334444:role/mautic-prod-ci-infrastructure",
      "arn:aws:iam::222233334444:policy/mautic-prod-infrastructure",
      "arn:aws:iam::222233334444:policy/mautic-prod-boundary",
    ]
    error_message = "It changes neither itself nor the boundaries."
  }
  assert {
    condition = length([
      for action in flatten([for one in jsondecode(aws_iam_policy.own.policy).Statement : try(one.Action, []) if one.Effect == "Allow"]) : action
      if can(regex("^(\\*|iam:\\*|s3:\\*|secretsmanager:(\\*|.*GetSecretValue))$", action))
    ]) == 0
    error_message = "No right of its own to whole IAM, S3 or a secret's value."
  }
  assert {
    condition = alltrue([
      for one in jsondecode(aws_iam_policy.own.policy).Statement : one.Sid == "Look" || one.Sid == "ServiceLinkedRoles" || one.Resource == "arn:aws:iam::222233334444:role/mautic-prod-*"
      if one.Effect == "Allow" && anytrue([for action in flatten([try(one.Action, [])]) : startswith(action, "iam:")])
    ])
    error_message = "It changes the stack's own roles alone."
  }
}

run "what_the_roles_of_the_stack_never_may" {
  module {
    source = "./modules/infrastructure"
  }

  assert {
    condition     = jsondecode(aws_iam_policy.boundary.policy).Statement[0].NotAction == ["iam:*", "organizations:*", "account:*"]
    error_message = "No rights in IAM but those named."
  }
  assert {
    condition     = jsondecode(aws_iam_policy.boundary.policy).Statement[2] == { Sid = "NotTheState", Effect = "Deny", Action = "s3:*", Resource = ["arn:aws:s3:::mautic-terraform-prod", "arn:aws:s3:::mautic-terraform-prod/*"] }
    error_message = "Terraform's state is for Terraform."
  }
}

run "wrong_values" {
  command = plan
  variables {
    audience     = "*"
    subject      = "project_path:group/project:ref_type:branch:ref:*"
    state_bucket = "mautic-*"
  }
  module {
    source = "./modules/infrastructure"
  }
  expect_failures = [var.audience, var.subject, var.state_bucket]
}
