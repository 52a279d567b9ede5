# terraform test -test-directory=tests/environments -filter=tests/environments/prod.tftest.hcl -var-file=environments/prod.tfvars

mock_provider "aws" {
  source = "./tests/mocks"
}

# Everybody's own; everything else is environments/prod.tfvars.
variables {
  account_id = "222233334444"
  domain     = "mautic.company.org"
}

override_resource {
  target = module.dns.aws_acm_certificate.this
  values = {
    arn = "arn:aws:acm:eu-central-1:222233334444:certificate/11111111-2222-3333-4444-555555555555"
    domain_validation_options = [
      {
        domain_name           = "mautic.company.org"
        resource_record_name  = "_proof.mautic.company.org."
        resource_record_type  = "CNAME"
        resource_record_value = "_value.acm-validations.aws."
      },
    ]
  }
}

run "a_zone_may_fail" {
  assert {
    condition     = local.name == "mautic-prod" && var.protected
    error_message = "The stack prod is protected."
  }
  assert {
    condition     = var.nodes.desired == 5 && var.nodes.min == 5
    error_message = "Five workers, never fewer."
  }
  assert {
    condition     = var.nat == "per-zone" && var.database.multi_az && var.database.backup_days == 30 && var.files.backup
    error_message = "Every zone on its own; a standby, a month of backups, files backed up."
  }
  assert {
    condition     = module.ci.snapshots == "arn:aws:rds:eu-central-1:222233334444:snapshot:mautic-prod-at-*"
    error_message = "Its deploys take snapshots of its server."
  }
  assert {
    condition     = output.ci_branches_role_arn == null
    error_message = "No branch gets in."
  }
}

run "never_unprotected" {
  command = plan
  variables {
    protected = false
  }
  expect_failures = [var.protected]
}
