resource "aws_route53_zone" "this" {
  #checkov:skip=CKV2_AWS_39:a log of every question asked about the site costs more than it tells
  #checkov:skip=CKV2_AWS_38:signing is of use only once the parent zone signs too, which this stack cannot know
  count = var.zone_id == null ? 1 : 0

  name = var.domain
}

data "aws_route53_zone" "existing" {
  count = var.zone_id == null ? 0 : 1

  zone_id = var.zone_id

  lifecycle {
    postcondition {
      condition     = var.domain == trimsuffix(self.name, ".") || endswith(var.domain, ".${trimsuffix(self.name, ".")}")
      error_message = "The zone ${self.zone_id} is that of ${self.name}, which does not hold ${var.domain}."
    }
  }
}

locals {
  zone_id = var.zone_id == null ? aws_route53_zone.this[0].zone_id : data.aws_route53_zone.existing[0].zone_id

  # Domain and wildcard are proved by one and the same record.
  proof = [for option in aws_acm_certificate.this.domain_validation_options : option if option.domain_name == var.domain][0]
}

resource "aws_acm_certificate" "this" {
  domain_name               = var.domain
  subject_alternative_names = ["*.${var.domain}"]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  zone_id         = local.zone_id
  name            = local.proof.resource_record_name
  type            = local.proof.resource_record_type
  records         = [local.proof.resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  count = var.wait_for_certificate ? 1 : 0

  certificate_arn         = aws_acm_certificate.this.arn
  validation_record_fqdns = [aws_route53_record.proof.fqdn]

  timeouts {
    create = "30m"
  }
}

resource "aws_route53_record" "site" {
  for_each = var.load_balancer == null ? toset([]) : toset([var.domain, "*.${var.domain}"])

  zone_id = local.zone_id
  name    = each.key
  type    = "A"

  alias {
    name                   = var.load_balancer.dns_name
    zone_id                = var.load_balancer.zone_id
    evaluate_target_health = false
  }
}
