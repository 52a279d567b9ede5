output "domain" {
  description = "The domain."
  value       = var.domain
}

output "zone_id" {
  description = "The Route 53 zone."
  value       = local.zone_id
}

output "name_servers" {
  description = "Name servers to enter in the parent zone, if the zone was made here."
  value       = var.zone_id == null ? aws_route53_zone.this[0].name_servers : []
}

output "certificate_arn" {
  description = "The wildcard certificate; issued, where that was waited for."
  value       = var.wait_for_certificate ? aws_acm_certificate_validation.this[0].certificate_arn : aws_acm_certificate.this.arn
}
