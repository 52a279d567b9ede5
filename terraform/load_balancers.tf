# What the AWS Load Balancer Controller may do. Its project publishes one policy for everything it
# can do; this one leaves out what the platform's single Gateway does not use (WAF, Shield, Cognito,
# IPAM, outposts, global accelerators), ties what it changes to this cluster's tag, and this region
# and account.

locals {
  elb    = "arn:${data.aws_partition.current.partition}:elasticloadbalancing:${var.region}:${var.account_id}"
  ec2    = "arn:${data.aws_partition.current.partition}:ec2:${var.region}:${var.account_id}"
  elb_lb = ["${local.elb}:loadbalancer/app/*", "${local.elb}:loadbalancer/net/*"]

  # The controller marks all that it makes with this tag.
  requested_by_cluster = { StringEquals = { "aws:RequestTag/elbv2.k8s.aws/cluster" = local.name } }
  made_by_cluster      = { StringEquals = { "aws:ResourceTag/elbv2.k8s.aws/cluster" = local.name } }

  load_balancer_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Look"
        Effect = "Allow"
        Action = [
          "ec2:DescribeAccountAttributes",
          "ec2:DescribeAddresses",
          "ec2:DescribeAvailabilityZones",
          "ec2:DescribeInstances",
          "ec2:DescribeInternetGateways",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeRouteTables",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeSubnets",
          "ec2:DescribeTags",
          "ec2:DescribeVpcs",
          "ec2:GetSecurityGroupsForVpc",
          "elasticloadbalancing:DescribeCapacityReservation",
          "elasticloadbalancing:DescribeListenerAttributes",
          "elasticloadbalancing:DescribeListenerCertificates",
          "elasticloadbalancing:DescribeListeners",
          "elasticloadbalancing:DescribeLoadBalancerAttributes",
          "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeRules",
          "elasticloadbalancing:DescribeSSLPolicies",
          "elasticloadbalancing:DescribeTags",
          "elasticloadbalancing:DescribeTargetGroupAttributes",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
          "elasticloadbalancing:DescribeTrustStores",
        ]
        Resource = ["*"] # these actions know no resources
      },
      {
        Sid      = "FindCertificates"
        Effect   = "Allow"
        Action   = ["acm:DescribeCertificate", "acm:ListCertificates"]
        Resource = ["*"] # listing knows no resource, and the list is what it is looked up in
      },
      {
        Sid       = "ServiceLinkedRole"
        Effect    = "Allow"
        Action    = ["iam:CreateServiceLinkedRole"]
        Resource  = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"]
        Condition = { StringEquals = { "iam:AWSServiceName" = "elasticloadbalancing.amazonaws.com" } }
      },
      {
        Sid      = "OpenNodesToLoadBalancers"
        Effect   = "Allow"
        Action   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
        Resource = ["${local.ec2}:security-group/${module.cluster.security_group_id}"]
      },
      {
        Sid      = "MakeSecurityGroups"
        Effect   = "Allow"
        Action   = ["ec2:CreateSecurityGroup"]
        Resource = ["${local.ec2}:vpc/${module.network.vpc_id}"]
      },
      {
        Sid       = "MakeMarkedSecurityGroups"
        Effect    = "Allow"
        Action    = ["ec2:CreateSecurityGroup"]
        Resource  = ["${local.ec2}:security-group/*"]
        Condition = local.requested_by_cluster
      },
      {
        Sid       = "TagNewSecurityGroups"
        Effect    = "Allow"
        Action    = ["ec2:CreateTags"]
        Resource  = ["${local.ec2}:security-group/*"]
        Condition = { StringEquals = merge(local.requested_by_cluster.StringEquals, { "ec2:CreateAction" = "CreateSecurityGroup" }) }
      },
      {
        Sid    = "ChangeOwnSecurityGroups"
        Effect = "Allow"
        Action = [
          "ec2:AuthorizeSecurityGroupIngress",
          "ec2:CreateTags",
          "ec2:DeleteSecurityGroup",
          "ec2:DeleteTags",
          "ec2:RevokeSecurityGroupIngress",
        ]
        Resource  = ["${local.ec2}:security-group/*"]
        Condition = local.made_by_cluster
      },
      {
        Sid       = "MakeLoadBalancers"
        Effect    = "Allow"
        Action    = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
        Resource  = concat(local.elb_lb, ["${local.elb}:targetgroup/*"])
        Condition = local.requested_by_cluster
      },
      {
        Sid      = "TagNewLoadBalancers"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:AddTags"]
        Resource = concat(local.elb_lb, ["${local.elb}:listener/*", "${local.elb}:listener-rule/*", "${local.elb}:targetgroup/*"])
        Condition = {
          StringEquals = merge(local.requested_by_cluster.StringEquals, {
            "elasticloadbalancing:CreateAction" = ["CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"]
          })
        }
      },
      {
        Sid    = "ChangeOwnLoadBalancers"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:AddListenerCertificates",
          "elasticloadbalancing:AddTags",
          "elasticloadbalancing:CreateListener",
          "elasticloadbalancing:CreateRule",
          "elasticloadbalancing:DeleteListener",
          "elasticloadbalancing:DeleteLoadBalancer",
          "elasticloadbalancing:DeleteRule",
          "elasticloadbalancing:DeleteTargetGroup",
          "elasticloadbalancing:DeregisterTargets",
          "elasticloadbalancing:ModifyListener",
          "elasticloadbalancing:ModifyListenerAttributes",
          "elasticloadbalancing:ModifyLoadBalancerAttributes",
          "elasticloadbalancing:ModifyRule",
          "elasticloadbalancing:ModifyTargetGroup",
          "elasticloadbalancing:ModifyTargetGroupAttributes",
          "elasticloadbalancing:RegisterTargets",
          "elasticloadbalancing:RemoveListenerCertificates",
          "elasticloadbalancing:RemoveTags",
          "elasticloadbalancing:SetIpAddressType",
          "elasticloadbalancing:SetRulePriorities",
          "elasticloadbalancing:SetSecurityGroups",
          "elasticloadbalancing:SetSubnets",
        ]
        Resource  = concat(local.elb_lb, ["${local.elb}:listener/*", "${local.elb}:listener-rule/*", "${local.elb}:targetgroup/*"])
        Condition = local.made_by_cluster
      },
    ]
  })
}
