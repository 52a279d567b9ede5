mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  path   = "/mautic-multidev/dev"
  values = { "registry/url" = "222233334444.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev", "region" = "eu-central-1" }
}

run "published" {
  module {
    source = "./modules/parameters"
  }

  assert {
    condition     = output.names == tolist(["/mautic-multidev/dev/region", "/mautic-multidev/dev/registry/url"])
    error_message = "Each value under the path."
  }
  assert {
    condition     = nonsensitive(aws_ssm_parameter.this["region"].value) == "eu-central-1" && alltrue([for parameter in aws_ssm_parameter.this : parameter.type == "String"])
    error_message = "As plain text: there is no secret among them."
  }
}

run "wrong_values" {
  command = plan
  variables {
    path   = "mautic-multidev/dev"          # path without a slash
    values = { "/region" = "eu-central-1" } # a name that leaves the path
  }
  module {
    source = "./modules/parameters"
  }
  expect_failures = [var.path, var.values]
}
