variable "name" {
  description = "Name of the role."
  type        = string

  validation {
    condition     = length(var.name) <= 64
    error_message = "name is a role's name: at most 64 characters."
  }
}

variable "cluster_name" {
  description = "The EKS cluster."
  type        = string
}

variable "namespace" {
  description = "Namespace of the service account."
  type        = string
}

variable "service_account" {
  description = "Service account whose pods get the role."
  type        = string
}

variable "policy" {
  description = "What they may do, as an IAM policy in JSON; null with a managed policy alone."
  type        = string
  default     = null

  validation {
    condition     = var.policy == null || can(jsondecode(var.policy).Statement)
    error_message = "policy must be an IAM policy in JSON."
  }
}

variable "managed_policy_arn" {
  description = "An AWS managed policy instead of, or besides, policy."
  type        = string
  default     = null
}

variable "permissions_boundary" {
  description = "Permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}
