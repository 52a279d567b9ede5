mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain               = "dev.company.org"
  wait_for_certificate = true
}

run "own_zone" {
  module {
    source = "./modules/dns"
  }

  assert {
    condition     = aws_route53_zone.this[0].name == "dev.company.org" && length(data.aws_route53_zone.existing) == 0 && length(output.name_servers) == 4
    error_message = "A zone is made, and its name servers are told."
  }
  assert {
    condition     = aws_acm_certificate.this.domain_name == "dev.company.org" && aws_acm_certificate.this.subject_alternative_names == toset(["*.dev.company.org"]) && aws_acm_certificate.this.validation_method == "DNS"
    error_message = "One certificate for the domain and every branch below it."
  }
  assert {
    condition     = aws_route53_record.proof.zone_id == "Z11111111111111111111" && aws_route53_record.proof.name == "_proof.dev.company.org." && aws_route53_record.proof.records == toset(["_value.acm-validations.aws."])
    error_message = "Proved by the record that ACM asks for."
  }
  assert {
    condition     = length(aws_acm_certificate_validation.this) == 1
    error_message = "The stack waits for the certificate."
  }
  assert {
    condition     = length(aws_route53_record.site) == 0
    error_message = "No load balancer, no record."
  }
}

run "existing_zone_and_load_balancer" {
  variables {
    zone_id       = "Z00000000000000000000"
    load_balancer = { dns_name = "k8s-gateway.eu-central-1.elb.amazonaws.com", zone_id = "Z215JYRZR1TBD5" }
  }
  module {
    source = "./modules/dns"
  }

  assert {
    condition     = length(aws_route53_zone.this) == 0 && output.zone_id == "Z00000000000000000000" && length(output.name_servers) == 0
    error_message = "No second zone of the same name."
  }
  assert {
    condition     = sort(keys(aws_route53_record.site)) == tolist(["*.dev.company.org", "dev.company.org"]) && alltrue([for record in aws_route53_record.site : record.zone_id == "Z00000000000000000000" && one(record.alias).name == "k8s-gateway.eu-central-1.elb.amazonaws.com" && one(record.alias).zone_id == "Z215JYRZR1TBD5"])
    error_message = "The domain and every branch lead to the Gateway."
  }
}

run "first_apply_of_a_new_zone" {
  variables {
    wait_for_certificate = false
  }
  module {
    source = "./modules/dns"
  }

  assert {
    condition     = length(aws_acm_certificate_validation.this) == 0 && output.certificate_arn == aws_acm_certificate.this.arn
    error_message = "Nothing waits for name servers that nobody knows yet."
  }
}

run "zone_of_another_domain" {
  command = plan
  variables {
    zone_id = "Z00000000000000000000"
  }
  override_data {
    target = data.aws_route53_zone.existing
    values = {
      name = "other.org."
    }
  }
  module {
    source = "./modules/dns"
  }
  expect_failures = [data.aws_route53_zone.existing]
}

run "a_zone_that_only_ends_alike" {
  command = plan
  variables {
    zone_id = "Z00000000000000000000"
  }
  override_data {
    target = data.aws_route53_zone.existing
    values = {
      name = "ompany.org."
    }
  }
  module {
    source = "./modules/dns"
  }
  expect_failures = [data.aws_route53_zone.existing]
}

run "wrong_values" {
  command = plan
  variables {
    domain  = "Company"     # not a domain
    zone_id = "company.org" # not a zone
  }
  module {
    source = "./modules/dns"
  }
  expect_failures = [var.domain, var.zone_id]
}
