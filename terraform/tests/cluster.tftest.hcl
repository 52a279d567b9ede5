mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "mautic-dev"
  kubernetes_version = "1.36"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  admins             = ["arn:aws:iam::222233334444:role/administrators"]
  file_system_arn    = "arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0"
  tags               = { Stack = "dev" }
  members = {
    main = {
      role_arn = "arn:aws:iam::222233334444:role/mautic-dev-ci-main"
      groups   = ["mautic-multidev:main"]
    }
  }
}

run "control_plane" {
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_eks_cluster.this.version == "1.36" && aws_eks_node_group.workers.version == "1.36"
    error_message = "Control plane and nodes are of the version asked for."
  }
  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"]) && aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "Kubernetes' secrets are encrypted with the cluster's own key, which rotates."
  }
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "Unless api_cidrs says otherwise the API server answers inside the VPC only."
  }
  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "Access entries only: no aws-auth, no administrator by the way."
  }
  assert {
    condition     = aws_eks_cluster.this.enabled_cluster_log_types == toset(["api", "audit", "authenticator", "controllerManager", "scheduler"])
    error_message = "Every log of the control plane is kept."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/eks/mautic-dev/cluster" && aws_cloudwatch_log_group.this.retention_in_days == 30 && aws_cloudwatch_log_group.this.kms_key_id == aws_kms_key.this.arn
    error_message = "Under the name that EKS writes to, for a limited time, encrypted."
  }
  assert {
    condition     = aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD"
    error_message = "Nobody pays for extended support by accident."
  }
  assert {
    condition     = !aws_eks_cluster.this.bootstrap_self_managed_addons
    error_message = "All add-ons are EKS' managed ones."
  }

  # five workers
  assert {
    condition     = aws_eks_node_group.workers.scaling_config[0].desired_size == 5 && aws_eks_node_group.workers.scaling_config[0].min_size == 3 && aws_eks_node_group.workers.scaling_config[0].max_size == 8
    error_message = "Five workers, three to eight."
  }
  assert {
    condition     = aws_eks_node_group.workers.subnet_ids == toset(["subnet-a", "subnet-b", "subnet-c"])
    error_message = "In the private subnets of all zones."
  }
  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2, and out of reach for pods."
  }
  assert {
    condition     = aws_launch_template.node.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.node.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "Disks are encrypted."
  }
  assert {
    condition     = alltrue([for tagged in aws_launch_template.node.tag_specifications : tagged.tags["Stack"] == "dev"]) && sort([for tagged in aws_launch_template.node.tag_specifications : tagged.resource_type]) == tolist(["instance", "network-interface", "volume"])
    error_message = "Machines, disks and interfaces carry the stack's tags."
  }
  assert {
    condition     = sort([for attached in aws_iam_role_policy_attachment.node : attached.policy_arn]) == tolist(["arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly", "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"])
    error_message = "A node may join and pull; the network add-on has a role of its own."
  }
  assert {
    condition     = jsondecode(aws_iam_role.node.assume_role_policy).Statement[0].Principal == { Service = "ec2.amazonaws.com" }
    error_message = "Only machines take the nodes' role."
  }

  # who may enter
  assert {
    condition     = keys(aws_eks_access_policy_association.admin) == ["arn:aws:iam::222233334444:role/administrators"] && alltrue([for bound in aws_eks_access_policy_association.admin : bound.policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy" && bound.access_scope[0].type == "cluster"])
    error_message = "Those named, and nobody else, administer the cluster."
  }
  assert {
    condition     = keys(aws_eks_access_entry.member) == ["main"] && aws_eks_access_entry.member["main"].kubernetes_groups == toset(["mautic-multidev:main"])
    error_message = "CI gets a group, and no policy of EKS'."
  }

  # addons
  assert {
    condition = sort(concat(keys(aws_eks_addon.before_nodes), keys(aws_eks_addon.on_nodes))) == tolist([
      "aws-efs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni",
    ])
    error_message = "The six add-ons."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values) == { enableNetworkPolicy = "true", env = { ENABLE_PREFIX_DELEGATION = "true" } }
    error_message = "The chart's NetworkPolicies are enforced."
  }
  assert {
    condition = jsondecode(module.efs_csi_node_identity.policy).Statement == [
      {
        Sid       = "MountThroughAccessPoints"
        Effect    = "Allow"
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
        Resource  = ["arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0"]
        Condition = { ArnLike = { "elasticfilesystem:AccessPointArn" = "arn:aws:elasticfilesystem:eu-central-1:222233334444:access-point/*" } }
      },
    ]
    error_message = "Nodes mount through access points, and not as root."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.on_nodes["aws-efs-csi-driver"].configuration_values).controller.deleteAccessPointRootDir
    error_message = "A deleted volume leaves no data behind."
  }

  # own roles only what they need
  assert {
    condition = jsondecode(aws_iam_role_policy.cluster.policy).Statement == [{
      Sid      = "EncryptSecrets"
      Effect   = "Allow"
      Action   = ["kms:Encrypt", "kms:Decrypt", "kms:ListGrants", "kms:DescribeKey"]
      Resource = ["arn:aws:kms:eu-central-1:222233334444:key/11111111-2222-3333-4444-555555555555"]
    }]
    error_message = "The control plane may use its own key."
  }
  assert {
    condition     = jsondecode(aws_iam_role.cluster.assume_role_policy).Statement[0].Principal == { Service = "eks.amazonaws.com" }
    error_message = "Only EKS takes the control plane's role."
  }
  assert {
    condition     = { for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Sid => statement.Principal } == { IamDecides = { AWS = "arn:aws:iam::222233334444:root" }, ControlPlaneLogs = { Service = "logs.eu-central-1.amazonaws.com" } }
    error_message = "The key is for this account and CloudWatch."
  }
  assert {
    condition     = jsondecode(aws_kms_key.this.policy).Statement[1].Condition == { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:eu-central-1:222233334444:log-group:/aws/eks/mautic-dev/cluster" } }
    error_message = "And for CloudWatch with this one log group only."
  }
}

run "addon_of_a_fixed_version" {
  variables {
    addon_versions = { coredns = "v1.12.4-eksbuild.1" }
  }
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_eks_addon.on_nodes["coredns"].addon_version == "v1.12.4-eksbuild.1"
    error_message = "The version asked for."
  }
}

run "api_for_some" {
  variables {
    api_cidrs = ["198.51.100.0/24"]
  }
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["198.51.100.0/24"])
    error_message = "For that range only."
  }
}

run "no_identity_unless_asked_for" {
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = length(aws_eks_identity_provider_config.gitlab) == 0
    error_message = "No tokens but AWS's."
  }
}

run "each_branch_a_user" {
  variables {
    members  = {}
    identity = { issuer_url = "https://gitlab.com", audience = "mautic-multidev", project_path = "group/project" }
  }
  module {
    source = "./modules/cluster"
  }

  assert {
    condition = [for one in aws_eks_identity_provider_config.gitlab : [
      one.oidc[0].issuer_url, one.oidc[0].client_id,
      one.oidc[0].username_claim, one.oidc[0].username_prefix, one.oidc[0].groups_claim, one.oidc[0].groups_prefix,
    ]] == [["https://gitlab.com", "mautic-multidev", "sub", "gitlab:", "project_path", "gitlab:"]]
    error_message = "The user is the token's sub, the group its project: what helm/platform expects."
  }
  assert {
    condition     = [for one in aws_eks_identity_provider_config.gitlab : one.oidc[0].required_claims] == [tomap({ project_path = "group/project", ref_type = "branch" })]
    error_message = "Other projects' tokens, and tags', are nobody's."
  }
}

run "one_branch_a_user" {
  variables {
    members  = {}
    identity = { issuer_url = "https://gitlab.com", audience = "mautic-multidev", project_path = "group/project", ref = "main" }
  }
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_eks_identity_provider_config.gitlab[0].oidc[0].required_claims["ref"] == "main"
    error_message = "Of a stack without branches only the main branch's tokens are taken."
  }
}

run "a_gitlab_that_eks_cannot_ask" {
  command = plan
  variables {
    identity = { issuer_url = "https://gitlab.company.org:8443", audience = "x", project_path = "group/*" }
  }
  module {
    source = "./modules/cluster"
  }
  expect_failures = [var.identity]
}

run "wrong_values_1" {
  command = plan
  variables {
    admins             = []                                                                                         # no administrator
    members            = { main = { role_arn = "arn:aws:iam::222233334444:role/ci", groups = ["system:masters"] } } # ci in a group of kubernetes
    kubernetes_version = "1.33"                                                                                     # version out of support
    subnet_ids         = ["subnet-a", "subnet-b"]                                                                   # two zones
    api_cidrs          = ["everybody"]                                                                              # not a range
    nodes              = { desired = 2, min = 3, max = 8 }                                                          # fewer than the least
    addon_versions     = { core-dns = "v1" }                                                                        # unknown addon
    support_type       = "NONE"                                                                                     # unknown support
  }
  module {
    source = "./modules/cluster"
  }
  expect_failures = [var.admins, var.members, var.kubernetes_version, var.subnet_ids, var.api_cidrs, var.nodes, var.addon_versions, var.support_type]
}

run "wrong_values_2" {
  command = plan
  variables {
    admins = ["arn:aws:sts::222233334444:assumed-role/administrators/alice"] # a session is no administrator
  }
  module {
    source = "./modules/cluster"
  }
  expect_failures = [var.admins]
}
