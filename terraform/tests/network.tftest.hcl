mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name = "mautic-dev"
  cidr = "10.20.0.0/16"
  nat  = "single"
}

run "three_zones" {
  module {
    source = "./modules/network"
  }

  assert {
    condition     = output.zones == tolist(["eu-central-1a", "eu-central-1b", "eu-central-1c"])
    error_message = "The first three zones of the region, in their order."
  }
  assert {
    condition     = length(aws_subnet.public) == 3 && length(aws_subnet.private) == 3 && length(aws_subnet.data) == 3
    error_message = "Three subnets of each kind."
  }
  assert {
    condition     = length(distinct([for subnet in aws_subnet.private : subnet.availability_zone])) == 3
    error_message = "Each private subnet in a zone of its own."
  }
  assert {
    condition = sort(concat(values(local.private), values(local.public), values(local.data))) == sort([
      "10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20",
      "10.20.48.0/24", "10.20.49.0/24", "10.20.50.0/24",
      "10.20.52.0/24", "10.20.53.0/24", "10.20.54.0/24",
    ])
    error_message = "The address plan that docs/infrastructure.md shows; no two may overlap."
  }
  assert {
    condition     = alltrue([for subnet in merge(aws_subnet.public, aws_subnet.private, aws_subnet.data) : subnet.map_public_ip_on_launch != true])
    error_message = "Nothing gets a public address by itself."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.tags["kubernetes.io/role/elb"] == "1"]) && alltrue([for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1"])
    error_message = "The load balancer controller finds subnets by these tags."
  }
  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "The default security group lets nothing through."
  }
  assert {
    condition     = aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "EKS' and EFS' names must resolve inside the VPC."
  }
  assert {
    condition     = length(aws_vpc_endpoint.s3.route_table_ids) == 3 && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "Image layers do not pass the NAT gateway in any zone."
  }

  # one nat gateway for all zones
  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"] && length(aws_eip.nat) == 1
    error_message = "single: one NAT gateway with one address."
  }
  assert {
    condition     = length(aws_route.nat) == 3 && alltrue([for route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this["eu-central-1a"].id])
    error_message = "All private subnets leave by it."
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0
    error_message = "With a way out no endpoint is paid for."
  }
  assert {
    condition     = alltrue([for association in aws_route_table_association.data : association.route_table_id == aws_route_table.data.id]) && alltrue([for route in aws_route.nat : route.route_table_id != aws_route_table.data.id]) && aws_route.internet.route_table_id == aws_route_table.public.id
    error_message = "The data subnets have no route out."
  }

  # rejected connections are logged
  assert {
    condition     = aws_flow_log.rejected[0].traffic_type == "REJECT" && aws_cloudwatch_log_group.flow[0].retention_in_days == 14
    error_message = "Fourteen days of refused connections."
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.flow[0].policy).Statement == [{
      Sid      = "WriteOwnLog"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = ["arn:aws:logs:eu-central-1:222233334444:log-group:mocked:*"]
    }]
    error_message = "Flow logs may write their own group, and nothing else."
  }
  assert {
    condition     = jsondecode(aws_iam_role.flow[0].assume_role_policy).Statement[0].Principal == { Service = "vpc-flow-logs.amazonaws.com" }
    error_message = "Only flow logs take the role."
  }
}

run "a_nat_gateway_in_each_zone" {
  variables {
    nat = "per-zone"
  }
  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && alltrue([for zone, gateway in aws_nat_gateway.this : gateway.subnet_id == aws_subnet.public[zone].id])
    error_message = "per-zone: a NAT gateway in each public subnet."
  }
  assert {
    condition     = alltrue([for zone, route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this[zone].id && route.route_table_id == aws_route_table.private[zone].id])
    error_message = "Each zone leaves by its own gateway."
  }
}

run "no_nat_gateway" {
  variables {
    nat = "none"
  }
  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_eip.nat) == 0 && length(aws_route.nat) == 0
    error_message = "none: no way out."
  }
  assert {
    condition = sort(keys(aws_vpc_endpoint.interface)) == sort([
      "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticfilesystem", "elasticloadbalancing",
      "logs", "secretsmanager", "sts",
    ])
    error_message = "Nodes reach the AWS services they need over endpoints."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && length(endpoint.subnet_ids) == 3])
    error_message = "Under their usual names, in all zones."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.20.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints[0].to_port == 443
    error_message = "From inside the VPC only, HTTPS only."
  }
}

run "zones_of_ones_own" {
  variables {
    zones = ["eu-central-1d", "eu-central-1b", "eu-central-1a"]
  }
  module {
    source = "./modules/network"
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1d"] && aws_subnet.private["eu-central-1d"].cidr_block == "10.20.0.0/20"
    error_message = "In the order given."
  }
}

run "no_log" {
  variables {
    flow_log_days = 0
  }
  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_flow_log.rejected) == 0 && length(aws_iam_role.flow) == 0 && length(aws_cloudwatch_log_group.flow) == 0
    error_message = "0 days: no log, no role."
  }
}

run "wrong_values_1" {
  command = plan
  variables {
    cidr          = "10.20.0.0/20"                     # too small
    zones         = ["eu-central-1a", "eu-central-1b"] # two zones
    nat           = "two"                              # unknown nat
    flow_log_days = 10                                 # unknown retention
  }
  module {
    source = "./modules/network"
  }
  expect_failures = [var.cidr, var.zones, var.nat, var.flow_log_days]
}

run "wrong_values_2" {
  command = plan
  variables {
    cidr  = "10.20.0.0"                                         # not a range
    zones = ["eu-central-1a", "eu-central-1b", "eu-central-1b"] # one zone twice
  }
  module {
    source = "./modules/network"
  }
  expect_failures = [var.cidr, var.zones]
}
