# terraform test -test-directory=tests/environments -filter=tests/environments/dev.tftest.hcl -var-file=environments/dev.tfvars

mock_provider "aws" {
  source = "./tests/mocks"
}

# Everybody's own; everything else is environments/dev.tfvars.
variables {
  account_id = "222233334444"
  domain     = "dev.company.org"
}

run "small" {
  assert {
    condition     = local.name == "mautic-dev" && output.cluster_name == "mautic-dev"
    error_message = "The stack dev."
  }
  assert {
    condition     = var.nodes.desired == 5
    error_message = "Five workers."
  }
  assert {
    condition     = var.nat == "single" && !var.database.multi_az && !var.protected
    error_message = "Cheap: one NAT gateway, no standby, removable."
  }
  assert {
    condition     = output.ci_branches_role_arn != null
    error_message = "Branches get in."
  }
}
