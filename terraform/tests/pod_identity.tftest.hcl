mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name            = "mautic-dev-database-admin"
  cluster_name    = "mautic-dev"
  namespace       = "mautic-system"
  service_account = "mautic-database-admin"
  policy          = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
}

run "one_service_account" {
  module {
    source = "./modules/pod-identity"
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Sid       = "PodsOfOneServiceAccount"
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = {
        StringEquals = {
          "aws:SourceAccount"                         = "222233334444"
          "aws:RequestTag/eks-cluster-name"           = "mautic-dev"
          "aws:RequestTag/kubernetes-namespace"       = "mautic-system"
          "aws:RequestTag/kubernetes-service-account" = "mautic-database-admin"
        }
      }
    }]
    error_message = "Only pods of that service account in that namespace of that cluster get the role."
  }
  assert {
    condition     = aws_eks_pod_identity_association.this.namespace == "mautic-system" && aws_eks_pod_identity_association.this.service_account == "mautic-database-admin" && aws_eks_pod_identity_association.this.role_arn == aws_iam_role.this.arn
    error_message = "The association binds that role."
  }
  assert {
    condition     = length(aws_iam_role_policy.this) == 1 && length(aws_iam_role_policy_attachment.managed) == 0
    error_message = "It may do what its own policy says."
  }
}

run "managed_policy" {
  variables {
    policy             = null
    managed_policy_arn = "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"
  }
  module {
    source = "./modules/pod-identity"
  }

  assert {
    condition     = length(aws_iam_role_policy.this) == 0 && aws_iam_role_policy_attachment.managed[0].policy_arn == "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"
    error_message = "It may do what AWS' policy says."
  }
}

run "wrong_values" {
  command = plan
  variables {
    policy = "everything" # not a policy
  }
  module {
    source = "./modules/pod-identity"
  }
  expect_failures = [var.policy]
}
