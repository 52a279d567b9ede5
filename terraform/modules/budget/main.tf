locals {
  # Told early enough to act: at 80 % spent, and as soon as the forecast passes the limit.
  alarms = {
    ACTUAL     = 80
    FORECASTED = 100
  }
}

resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "cost_filter" {
    for_each = var.cost_tag == null ? [] : [var.cost_tag]

    content {
      name   = "TagKeyValue"
      values = ["user:${cost_filter.value}"]
    }
  }

  dynamic "notification" {
    for_each = local.alarms

    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
    }
  }
}
