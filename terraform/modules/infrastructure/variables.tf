variable "name" {
  description = "Prefix of the role's and the policies' names: project and stack."
  type        = string
}

variable "stack" {
  description = "Value of the tag Stack on everything of this stack."
  type        = string
}

variable "provider_arn" {
  description = "GitLab's OIDC provider."
  type        = string
}

variable "audience" {
  description = "The `aud` of GitLab's tokens."
  type        = string

  validation {
    condition     = length(var.audience) > 0 && !can(regex("[*?]", var.audience))
    error_message = "audience must be a text without wildcards."
  }
}

variable "subject" {
  description = "The `sub` of GitLab's tokens for the main branch, in full."
  type        = string

  validation {
    condition     = can(regex("^project_path:[^:*?]+:ref_type:branch:ref:[^:*?]+$", var.subject))
    error_message = "subject must be one branch of one project, without wildcards."
  }
}

variable "state_bucket" {
  description = "Bucket of this stack's Terraform state, which no other stack has."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be a bucket's name, without wildcards."
  }
}
