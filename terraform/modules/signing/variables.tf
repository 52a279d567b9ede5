variable "name" {
  description = "Project and stack: the key's alias is <name>-images."
  type        = string
}

variable "signer_arn" {
  description = "The one role that signs: that of the main branch's jobs."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", var.signer_arn))
    error_message = "signer_arn must be the ARN of one IAM role, without wildcards."
  }
}

variable "verifier_arns" {
  description = "IAM roles and users that deploy besides, and so check signatures."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.verifier_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "verifier_arns must be ARNs of IAM roles or users, without wildcards."
  }
}
