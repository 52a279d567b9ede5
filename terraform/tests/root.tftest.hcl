# What the modules cannot know: that they are given the right things of each other.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  stack      = "dev"
  account_id = "222233334444"
  region     = "eu-central-1"
  protected  = false
  domain     = "dev.company.org"
  admins     = ["arn:aws:iam::222233334444:role/administrators"]
  gitlab     = { project_path = "group/project", branch_refs = ["*"] }
  database   = { multi_az = false }
}

run "published_for_the_suite" {
  assert {
    condition = output.parameter_names == tolist([
      "/mautic-multidev/dev/ci/branches-role-arn",
      "/mautic-multidev/dev/ci/main-role-arn",
      "/mautic-multidev/dev/cluster/groups/branches",
      "/mautic-multidev/dev/cluster/groups/main",
      "/mautic-multidev/dev/cluster/name",
      "/mautic-multidev/dev/database/admin-secret-arn",
      "/mautic-multidev/dev/database/host",
      "/mautic-multidev/dev/database/identifier",
      "/mautic-multidev/dev/database/port",
      "/mautic-multidev/dev/dns/certificate-arn",
      "/mautic-multidev/dev/dns/domain",
      "/mautic-multidev/dev/dns/zone-id",
      "/mautic-multidev/dev/network/vpc-id",
      "/mautic-multidev/dev/platform/database-account",
      "/mautic-multidev/dev/platform/database-role-arn",
      "/mautic-multidev/dev/platform/efs-csi-role-arn",
      "/mautic-multidev/dev/platform/load-balancers-role-arn",
      "/mautic-multidev/dev/platform/namespace",
      "/mautic-multidev/dev/region",
      "/mautic-multidev/dev/registry/cache",
      "/mautic-multidev/dev/registry/mautic",
      "/mautic-multidev/dev/registry/nginx",
      "/mautic-multidev/dev/registry/url",
      "/mautic-multidev/dev/storage/classes",
      "/mautic-multidev/dev/storage/file-system-id",
    ])
    error_message = "The list in README.md, which the suite reads."
  }
  assert {
    condition     = output.parameter_path == "/mautic-multidev/dev" && output.registry_url == "222233334444.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev" && output.cluster_name == "mautic-dev"
    error_message = "Everything is called after project and stack."
  }
  assert {
    condition     = output.tags == { Project = "mautic", Stack = "dev", ManagedBy = "terraform" }
    error_message = "Every resource says whose it is."
  }

  # who reads the administrator's password
  assert {
    condition = jsondecode(module.database_identity.policy).Statement == [
      {
        Sid      = "ReadAdminSecret"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = ["arn:aws:secretsmanager:eu-central-1:222233334444:secret:rds!db-mocked"]
      },
      {
        Sid       = "DecryptAdminSecret"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = ["arn:aws:kms:eu-central-1:222233334444:key/11111111-2222-3333-4444-555555555555"]
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.eu-central-1.amazonaws.com" } }
      },
    ]
    error_message = "The database Job reads that one secret, and nothing else."
  }

  # what the driver of the shared files may do
  assert {
    condition = { for statement in jsondecode(module.cluster.efs_csi_policy).Statement : statement.Sid => [statement.Action, statement.Resource] } == {
      FindZones             = [["ec2:DescribeAvailabilityZones"], "*"]
      ReadFileSystem        = [["elasticfilesystem:DescribeAccessPoints", "elasticfilesystem:DescribeFileSystems", "elasticfilesystem:DescribeMountTargets"], ["arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0", "arn:aws:elasticfilesystem:eu-central-1:222233334444:access-point/*"]]
      MakeAccessPoints      = [["elasticfilesystem:CreateAccessPoint"], ["arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0"]]
      TagNewAccessPoints    = [["elasticfilesystem:TagResource"], ["arn:aws:elasticfilesystem:eu-central-1:222233334444:access-point/*"]]
      DeleteOwnAccessPoints = [["elasticfilesystem:DeleteAccessPoint"], ["arn:aws:elasticfilesystem:eu-central-1:222233334444:access-point/*"]]
    }
    error_message = "Access points on this stack's file system."
  }
  assert {
    condition = { for statement in jsondecode(module.cluster.efs_csi_policy).Statement : statement.Sid => statement.Condition if can(statement.Condition) } == {
      MakeAccessPoints      = { StringEquals = { "aws:RequestTag/efs.csi.aws.com/cluster" = "true" } }
      TagNewAccessPoints    = { StringEquals = { "elasticfilesystem:CreateAction" = "CreateAccessPoint" } }
      DeleteOwnAccessPoints = { StringEquals = { "aws:ResourceTag/efs.csi.aws.com/cluster" = "true" } }
    }
    error_message = "It deletes only what the driver has made."
  }

  # who mounts the files
  assert {
    condition     = { for one in jsondecode(module.storage.policy).Statement : one.Sid => one.Principal.AWS if one.Effect == "Allow" } == { NodesMountForPods = module.cluster.efs_csi_roles.node_role_arn, ControllerRemovesFolders = module.cluster.efs_csi_roles.controller_role_arn }
    error_message = "The cluster's own driver, and nobody else."
  }
  assert {
    condition     = alltrue([for class in jsondecode(jsonencode(module.storage.storage_classes)) : class.mountOptions == ["tls", "iam"]])
    error_message = "With its role."
  }

  # what the load balancer controller may do
  assert {
    condition = { for statement in jsondecode(local.load_balancer_policy).Statement : statement.Sid => statement.Resource } == {
      Look                     = ["*"]
      FindCertificates         = ["*"]
      ServiceLinkedRole        = ["arn:aws:iam::222233334444:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"]
      OpenNodesToLoadBalancers = ["arn:aws:ec2:eu-central-1:222233334444:security-group/sg-0123456789abcdef0"]
      MakeSecurityGroups       = ["arn:aws:ec2:eu-central-1:222233334444:vpc/${module.network.vpc_id}"]
      MakeMarkedSecurityGroups = ["arn:aws:ec2:eu-central-1:222233334444:security-group/*"]
      TagNewSecurityGroups     = ["arn:aws:ec2:eu-central-1:222233334444:security-group/*"]
      ChangeOwnSecurityGroups  = ["arn:aws:ec2:eu-central-1:222233334444:security-group/*"]
      MakeLoadBalancers = [
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/app/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/net/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:targetgroup/*",
      ]
      TagNewLoadBalancers = [
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/app/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/net/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:listener/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:listener-rule/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:targetgroup/*",
      ]
      ChangeOwnLoadBalancers = [
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/app/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:loadbalancer/net/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:listener/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:listener-rule/*",
        "arn:aws:elasticloadbalancing:eu-central-1:222233334444:targetgroup/*",
      ]
    }
    error_message = "Everywhere only looking; changes in this region and account."
  }
  assert {
    condition = { for statement in jsondecode(local.load_balancer_policy).Statement : statement.Sid => statement.Condition.StringEquals if can(statement.Condition) } == {
      ServiceLinkedRole        = { "iam:AWSServiceName" = "elasticloadbalancing.amazonaws.com" }
      MakeMarkedSecurityGroups = { "aws:RequestTag/elbv2.k8s.aws/cluster" = "mautic-dev" }
      TagNewSecurityGroups     = { "aws:RequestTag/elbv2.k8s.aws/cluster" = "mautic-dev", "ec2:CreateAction" = "CreateSecurityGroup" }
      ChangeOwnSecurityGroups  = { "aws:ResourceTag/elbv2.k8s.aws/cluster" = "mautic-dev" }
      MakeLoadBalancers        = { "aws:RequestTag/elbv2.k8s.aws/cluster" = "mautic-dev" }
      TagNewLoadBalancers      = { "aws:RequestTag/elbv2.k8s.aws/cluster" = "mautic-dev", "elasticloadbalancing:CreateAction" = ["CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"] }
      ChangeOwnLoadBalancers   = { "aws:ResourceTag/elbv2.k8s.aws/cluster" = "mautic-dev" }
    }
    error_message = "What it makes carries this cluster's tag; what lacks it stays as it is."
  }
  assert {
    condition     = alltrue([for action in flatten([for statement in jsondecode(local.load_balancer_policy).Statement : statement.Action if statement.Resource == ["*"]]) : can(regex(":(Describe|Get|List)", action))])
    error_message = "On everything it may only look."
  }
  assert {
    condition     = length([for action in flatten([for statement in jsondecode(local.load_balancer_policy).Statement : statement.Action]) : action if strcontains(action, "*")]) == 0
    error_message = "Every action by its name."
  }
}

run "branches_kept_out" {
  variables {
    gitlab  = { project_path = "group/project" }
    budget  = { monthly_usd = 500, emails = ["ops@company.org"], by_stack = true }
    signing = {}
  }

  assert {
    condition     = output.ci_branches_role_arn == null && !contains(output.parameter_names, "/mautic-multidev/dev/ci/branches-role-arn") && !contains(output.parameter_names, "/mautic-multidev/dev/cluster/groups/branches")
    error_message = "No role, no group for branches."
  }
  assert {
    condition     = module.budget[0].name == "mautic-dev"
    error_message = "An alarm where one is asked for."
  }
  assert {
    condition     = length(module.signing) == 1 && output.signing_key_arn == module.signing[0].alias_arn
    error_message = "A key that signs where one is asked for."
  }
}

run "jobs_as_users" {
  variables {
    gitlab = { project_path = "group/project", branch_refs = ["*"], cluster_audience = "mautic-multidev" }
  }

  assert {
    condition     = length(local.members) == 0 && !anytrue([for name in output.parameter_names : strcontains(name, "cluster/groups")])
    error_message = "No role of CI's gets into the cluster any more."
  }
  assert {
    condition     = contains(output.parameter_names, "/mautic-multidev/dev/cluster/identity/project") && contains(output.parameter_names, "/mautic-multidev/dev/cluster/identity/main-ref")
    error_message = "inv platform.apply reads whose users they are."
  }
}

# The provider checks what it is given, mocked or not: names of roles, of the database, of its groups.
run "longest_names" {
  command = plan
  variables {
    project = "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
  }
  assert {
    condition     = output.cluster_name == "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm-dev"
    error_message = "A project of 40 characters has a stack dev."
  }
}

run "names_too_long" {
  command = plan
  variables {
    project = "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
    stack   = "test"
  }
  expect_failures = [var.project]
}

run "a_name_that_ec2_refuses" {
  command = plan
  variables {
    project = "sg"
  }
  expect_failures = [var.project]
}

run "example_values" {
  command = plan
  variables {
    account_id = "111122223333"
    domain     = "mautic.example.org"
    region     = "Frankfurt"
    project    = "my--mautic"
    tags       = { stack = "mine" }
  }
  expect_failures = [var.account_id, var.domain, var.region, var.project, var.tags]
}

# The project's length is judged with the stack's, and so only where that is right.
run "a_wrong_stack" {
  command = plan
  variables {
    stack = "Dev"
  }
  expect_failures = [var.stack]
}

run "prod_unprotected" {
  command = plan
  variables {
    stack              = "prod"
    platform_namespace = "kube-system"
  }
  expect_failures = [var.protected, var.platform_namespace]
}

run "protected_without_a_standby" {
  command = plan
  variables {
    protected = true
    gitlab    = { project_path = "group/project" }
    files     = { backup = false }
  }
  expect_failures = [var.database, var.files]
}

run "protected_with_few_backups" {
  command = plan
  variables {
    protected = true
    gitlab    = { project_path = "group/project" }
    database  = { backup_days = 3 }
  }
  expect_failures = [var.database]
}

run "a_role_for_terraforms_jobs" {
  variables {
    infrastructure = { state_bucket = "mautic-terraform-dev" }
  }

  assert {
    condition     = output.ci_infrastructure_role_arn != null && local.boundary_arn == "arn:aws:iam::222233334444:policy/mocked"
    error_message = "It exists, and all roles have its boundary."
  }
}

run "nobodys_role_by_default" {
  command = plan

  assert {
    condition     = output.ci_infrastructure_role_arn == null && local.boundary_arn == null
    error_message = "Without a bucket of the stack's own there is no such role."
  }
  assert {
    condition     = output.signing_key_arn == null
    error_message = "A key is made only where one is asked for."
  }
}

run "no_branch_gets_into_a_protected_stack" {
  command = plan
  variables {
    protected = true
    database  = { multi_az = true }
  }
  expect_failures = [var.gitlab]
}
