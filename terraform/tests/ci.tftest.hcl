mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "mautic-dev"
  project_path = "group/sub/project"
  main_ref     = "main"
  branch_refs  = ["feature/*", "release-?"]
  repository_arns = {
    mautic = "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/mautic"
    nginx  = "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/nginx"
    cache  = "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/cache"
  }
  cluster_arn    = "arn:aws:eks:eu-central-1:222233334444:cluster/mautic-dev"
  parameter_path = "/mautic-multidev/dev"
}

run "who_is_trusted" {
  module {
    source = "./modules/ci"
  }

  assert {
    condition     = aws_iam_openid_connect_provider.gitlab[0].url == "https://gitlab.com" && aws_iam_openid_connect_provider.gitlab[0].client_id_list == toset(["https://gitlab.com"])
    error_message = "GitLab vouches, with tokens that are meant for AWS."
  }
  assert {
    condition = jsondecode(aws_iam_role.this["main"].assume_role_policy).Statement == [{
      Sid       = "GitlabJobs"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::222233334444:oidc-provider/gitlab.com" }
      Condition = {
        StringEquals = {
          "gitlab.com:aud" = "https://gitlab.com"
          "gitlab.com:sub" = "project_path:group/sub/project:ref_type:branch:ref:main"
        }
      }
    }]
    error_message = "main: exactly that branch of exactly that project, without wildcards."
  }
  assert {
    condition = jsondecode(aws_iam_role.this["branches"].assume_role_policy).Statement == [{
      Sid       = "GitlabJobs"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::222233334444:oidc-provider/gitlab.com" }
      Condition = {
        StringEquals = { "gitlab.com:aud" = "https://gitlab.com" }
        StringLike = {
          "gitlab.com:sub" = [
            "project_path:group/sub/project:ref_type:branch:ref:feature/*",
            "project_path:group/sub/project:ref_type:branch:ref:release-?",
          ]
        }
      }
    }]
    error_message = "branches: those patterns of exactly that project; never a tag."
  }

  # what they may do
  assert {
    condition     = keys(aws_iam_role_policy.this) == ["branches", "main"]
    error_message = "One policy each, and none attached besides."
  }
  assert {
    condition = alltrue([for policy in aws_iam_role_policy.this : jsondecode(policy.policy).Statement == [
      {
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
      {
        Sid    = "BuildAndTag"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
          "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories",
          "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:ListImages",
          "ecr:PutImage", "ecr:StartImageScan", "ecr:UploadLayerPart",
        ]
        Resource = [
          "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/cache",
          "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/mautic",
          "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/nginx",
        ]
      },
      {
        Sid    = "RemoveTags"
        Effect = "Allow"
        Action = ["ecr:BatchDeleteImage"]
        Resource = [
          "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/mautic",
          "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/nginx",
        ]
      },
      {
        Sid    = "ReadStackSettings"
        Effect = "Allow"
        Action = ["ssm:GetParametersByPath"]
        Resource = [
          "arn:aws:ssm:eu-central-1:222233334444:parameter/mautic-multidev/dev",
          "arn:aws:ssm:eu-central-1:222233334444:parameter/mautic-multidev/dev/*",
        ]
      },
      {
        Sid      = "FindCluster"
        Effect   = "Allow"
        Action   = ["eks:DescribeCluster"]
        Resource = ["arn:aws:eks:eu-central-1:222233334444:cluster/mautic-dev"]
      },
    ]])
    error_message = "Statement by statement: this, and nothing else."
  }
}

run "access_points_of_the_file_system" {
  variables {
    file_system_arn = "arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123"
  }
  module {
    source = "./modules/ci"
  }

  assert {
    condition = alltrue([for policy in aws_iam_role_policy.this : [
      for one in jsondecode(policy.policy).Statement : one if one.Sid == "CountAccessPoints"
      ] == [{
        Sid      = "CountAccessPoints"
        Effect   = "Allow"
        Action   = ["elasticfilesystem:DescribeAccessPoints"]
        Resource = ["arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123"]
    }]])
    error_message = "They are counted of this file system, and nothing else of it is seen."
  }
}

run "snapshots_of_the_server" {
  variables {
    database_identifier = "mautic-dev"
  }
  module {
    source = "./modules/ci"
  }

  assert {
    condition = slice(jsondecode(aws_iam_role_policy.this["main"].policy).Statement, 5, 9) == [
      {
        Sid    = "LookAtDatabase"
        Effect = "Allow"
        Action = ["rds:DescribeDBInstances", "rds:DescribeDBSnapshots"]
        Resource = [
          "arn:aws:rds:eu-central-1:222233334444:db:mautic-dev",
          "arn:aws:rds:eu-central-1:222233334444:snapshot:*",
        ]
      },
      {
        Sid    = "TakeSnapshots"
        Effect = "Allow"
        Action = ["rds:CreateDBSnapshot"]
        Resource = [
          "arn:aws:rds:eu-central-1:222233334444:db:mautic-dev",
          "arn:aws:rds:eu-central-1:222233334444:snapshot:mautic-dev-at-*",
        ]
      },
      {
        Sid      = "TagSnapshots"
        Effect   = "Allow"
        Action   = ["rds:AddTagsToResource", "rds:ListTagsForResource"]
        Resource = ["arn:aws:rds:eu-central-1:222233334444:snapshot:mautic-dev-at-*"]
      },
      {
        Sid       = "RemoveOwnSnapshots"
        Effect    = "Allow"
        Action    = ["rds:DeleteDBSnapshot"]
        Resource  = ["arn:aws:rds:eu-central-1:222233334444:snapshot:mautic-dev-at-*"]
        Condition = { Null = { "aws:ResourceTag/mautic-multidev/environment" = "false" } }
      },
    ]
    error_message = "It takes them of this instance, and removes its own alone."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.this["branches"].policy, "rds:")
    error_message = "Jobs of branches come near no snapshot."
  }
}

run "a_gitlab_of_ones_own" {
  variables {
    gitlab_url   = "https://git.company.org:8443/gitlab"
    audience     = "aws"
    provider_arn = "arn:aws:iam::222233334444:oidc-provider/git.company.org:8443/gitlab"
  }
  module {
    source = "./modules/ci"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.gitlab) == 0 && output.provider_arn == "arn:aws:iam::222233334444:oidc-provider/git.company.org:8443/gitlab"
    error_message = "An account has but one provider for it."
  }
  assert {
    condition     = jsondecode(aws_iam_role.this["main"].assume_role_policy).Statement[0].Condition.StringEquals["git.company.org:8443/gitlab:aud"] == "aws"
    error_message = "The claims carry its own name."
  }
}

run "main_only" {
  variables {
    branch_refs = []
  }
  module {
    source = "./modules/ci"
  }

  assert {
    condition     = keys(aws_iam_role.this) == ["main"] && output.branches_role_arn == null
    error_message = "No branch gets into this stack."
  }
}

run "a_cluster_elsewhere" {
  variables {
    cluster_arn = null
  }
  module {
    source = "./modules/ci"
  }

  assert {
    condition     = !contains([for statement in jsondecode(aws_iam_role_policy.this["main"].policy).Statement : statement.Sid], "FindCluster")
    error_message = "No right to what is not there."
  }
}

run "wrong_values_1" {
  command = plan
  variables {
    project_path    = "group/*"                                                         # other peoples projects
    main_ref        = "ma*"                                                             # main with a wildcard
    branch_refs     = ["x:ref_type:tag"]                                                # a ref that ends the claim
    gitlab_url      = "http://git.company.org"                                          # gitlab in plain
    audience        = "*"                                                               # any audience
    repository_arns = { mautic = "arn:aws:ecr:eu-central-1:222233334444:repository/*" } # all repositories
    parameter_path  = "/"                                                               # all parameters
    provider_arn    = "gitlab.com"                                                      # not a provider

    database_identifier = "mautic-*" # all instances
  }
  module {
    source = "./modules/ci"
  }
  expect_failures = [var.project_path, var.main_ref, var.branch_refs, var.gitlab_url, var.audience, var.repository_arns, var.parameter_path, var.provider_arn, var.database_identifier]
}

run "wrong_values_2" {
  command = plan
  variables {
    project_path = "project" # project without a group
  }
  module {
    source = "./modules/ci"
  }
  expect_failures = [var.project_path]
}
