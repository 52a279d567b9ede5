variable "name" {
  description = "Name of the budget: project and stack."
  type        = string
}

variable "monthly_usd" {
  description = "US dollars a month."
  type        = number

  validation {
    condition     = var.monthly_usd > 0
    error_message = "monthly_usd must be more than 0."
  }
}

variable "emails" {
  description = "Who is told."
  type        = list(string)

  validation {
    condition     = length(var.emails) > 0 && length(var.emails) <= 10 && alltrue([for email in var.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "emails must be one to ten addresses such as ops@company.org."
  }
}

variable "cost_tag" {
  description = "Count only what carries this tag, as Key$Value; it must be activated as a cost allocation tag in Billing, or nothing is counted. Null: the whole account."
  type        = string
  default     = null

  validation {
    condition     = var.cost_tag == null || can(regex("^[^$]+\\$[^$]+$", var.cost_tag))
    error_message = "cost_tag must be Key$Value, such as Stack$dev."
  }
}
