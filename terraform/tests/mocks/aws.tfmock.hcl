# What an offline provider cannot make up: values whose form the configuration looks at.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "222233334444"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition  = "aws"
    dns_suffix = "amazonaws.com"
  }
}

mock_data "aws_region" {
  defaults = {
    name = "eu-central-1"
  }
}

mock_data "aws_availability_zones" {
  defaults = {
    names = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"]
  }
}

mock_data "aws_route53_zone" {
  defaults = {
    name    = "company.org."
    zone_id = "Z00000000000000000000"
  }
}

mock_resource "aws_route53_zone" {
  defaults = {
    zone_id      = "Z11111111111111111111"
    name_servers = ["ns-1.awsdns-00.org", "ns-2.awsdns-00.com", "ns-3.awsdns-00.net", "ns-4.awsdns-00.co.uk"]
  }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:eu-central-1:222233334444:certificate/11111111-2222-3333-4444-555555555555"
    domain_validation_options = [
      {
        domain_name           = "dev.company.org"
        resource_record_name  = "_proof.dev.company.org."
        resource_record_type  = "CNAME"
        resource_record_value = "_value.acm-validations.aws."
      },
    ]
  }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn = "arn:aws:iam::222233334444:role/mocked"
  }
}

mock_resource "aws_iam_policy" {
  defaults = {
    arn = "arn:aws:iam::222233334444:policy/mocked"
  }
}

mock_resource "aws_iam_openid_connect_provider" {
  defaults = {
    arn = "arn:aws:iam::222233334444:oidc-provider/gitlab.com"
  }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:eu-central-1:222233334444:key/11111111-2222-3333-4444-555555555555"
    key_id = "11111111-2222-3333-4444-555555555555"
  }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = {
    arn = "arn:aws:logs:eu-central-1:222233334444:log-group:mocked"
  }
}

mock_resource "aws_launch_template" {
  defaults = {
    id             = "lt-0123456789abcdef0"
    latest_version = 1
  }
}

mock_resource "aws_eks_cluster" {
  defaults = {
    arn = "arn:aws:eks:eu-central-1:222233334444:cluster/mocked"
    vpc_config = {
      cluster_security_group_id = "sg-0123456789abcdef0"
    }
  }
}

mock_resource "aws_efs_file_system" {
  defaults = {
    id  = "fs-0123456789abcdef0"
    arn = "arn:aws:elasticfilesystem:eu-central-1:222233334444:file-system/fs-0123456789abcdef0"
  }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:eu-central-1:222233334444:repository/mautic-dev/mocked"
    repository_url = "222233334444.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev/cache"
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    address = "mautic-dev.abcdefghijkl.eu-central-1.rds.amazonaws.com"
    master_user_secret = [
      {
        secret_arn    = "arn:aws:secretsmanager:eu-central-1:222233334444:secret:rds!db-mocked"
        kms_key_id    = "11111111-2222-3333-4444-555555555555"
        secret_status = "active"
      },
    ]
  }
}
