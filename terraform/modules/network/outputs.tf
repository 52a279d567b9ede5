output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "zones" {
  description = "The three availability zones."
  value       = local.zones
}

output "public_subnet_ids" {
  description = "Subnets of public load balancers and NAT gateways, one per zone."
  value       = [for zone in local.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Subnets of nodes, pods and file system mounts, one per zone."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "data_subnet_ids" {
  description = "Subnets of the database, without a route to or from outside, one per zone."
  value       = [for zone in local.zones : aws_subnet.data[zone].id]
}
