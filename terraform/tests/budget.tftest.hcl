mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "mautic-dev"
  monthly_usd = 800
  emails      = ["ops@company.org"]
}

run "alarm" {
  module {
    source = "./modules/budget"
  }

  assert {
    condition     = aws_budgets_budget.this.limit_amount == "800" && aws_budgets_budget.this.limit_unit == "USD" && aws_budgets_budget.this.time_unit == "MONTHLY"
    error_message = "So many dollars a month."
  }
  assert {
    condition     = sort([for alarm in aws_budgets_budget.this.notification : "${alarm.notification_type} ${alarm.threshold}"]) == tolist(["ACTUAL 80", "FORECASTED 100"])
    error_message = "Told at 80 % spent, and when the forecast passes the limit."
  }
  assert {
    condition     = alltrue([for alarm in aws_budgets_budget.this.notification : alarm.subscriber_email_addresses == toset(["ops@company.org"])])
    error_message = "Those named are told."
  }
  assert {
    condition     = length(aws_budgets_budget.this.cost_filter) == 0
    error_message = "The whole account, unless told otherwise."
  }
}

run "one_stack" {
  variables {
    cost_tag = "Stack$dev"
  }
  module {
    source = "./modules/budget"
  }

  assert {
    condition     = one(aws_budgets_budget.this.cost_filter).name == "TagKeyValue" && one(aws_budgets_budget.this.cost_filter).values == tolist(["user:Stack$dev"])
    error_message = "Only what carries the tag."
  }
}

run "wrong_values" {
  command = plan
  variables {
    emails      = []    # nobody told
    monthly_usd = 0     # no limit
    cost_tag    = "dev" # not a tag
  }
  module {
    source = "./modules/budget"
  }
  expect_failures = [var.emails, var.monthly_usd, var.cost_tag]
}
