variable "name" {
  description = "Prefix of the roles' names: project and stack."
  type        = string
}

variable "gitlab_url" {
  description = "Address of GitLab, as it stands in its tokens: https:// and no final slash."
  type        = string
  default     = "https://gitlab.com"

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*$", var.gitlab_url))
    error_message = "gitlab_url must start with https:// and end without a slash, such as https://gitlab.company.org."
  }
}

variable "audience" {
  description = "The `aud` that .gitlab-ci.yml asks for in id_tokens."
  type        = string
  default     = "https://gitlab.com"

  validation {
    condition     = length(var.audience) > 0 && !can(regex("[*?]", var.audience))
    error_message = "audience must be a text without wildcards."
  }
}

variable "provider_arn" {
  description = "An IAM OIDC provider for this GitLab that the account already has; an account can have but one. Null: it is made."
  type        = string
  default     = null

  validation {
    condition     = var.provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/.+$", var.provider_arn))
    error_message = "provider_arn must be the ARN of an IAM OIDC provider."
  }
}

variable "project_path" {
  description = "Path of the GitLab project whose jobs may take the roles."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$", var.project_path))
    error_message = "project_path must be group/project, with subgroups if any, and without wildcards: a wildcard would let in other people's projects."
  }
}

variable "main_ref" {
  description = "The one branch whose jobs may take the role for main. It must be protected in GitLab."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_./-]*$", var.main_ref))
    error_message = "main_ref must be one branch's full name, without wildcards."
  }
}

variable "branch_refs" {
  description = "Branches, with * and ? as wildcards, whose jobs may take the role for branches. Empty: there is no such role."
  type        = list(string)

  validation {
    condition     = alltrue([for ref in var.branch_refs : can(regex("^[A-Za-z0-9_./*?-]+$", ref))])
    error_message = "branch_refs must be branch names or patterns, such as feature/* or *."
  }
}

variable "repository_arns" {
  description = "ECR repositories that jobs push to and clean up: mautic, nginx, seed-*, cache."
  type        = map(string)

  validation {
    condition     = length(var.repository_arns) > 0 && alltrue([for arn in var.repository_arns : !can(regex("[*?]", arn))])
    error_message = "repository_arns must be ARNs of repositories, without wildcards."
  }
}

variable "cluster_arn" {
  description = "EKS cluster that jobs deploy to. Null: a cluster that is not on EKS."
  type        = string
  default     = null
}

variable "file_system_arn" {
  description = "File system of EFS whose access points jobs count before they deploy. Null: of none."
  type        = string
  default     = null
}

variable "database_identifier" {
  description = "Instance of RDS that jobs of the main branch take snapshots of before they migrate. Null: of none."
  type        = string
  default     = null

  validation {
    condition     = var.database_identifier == null || can(regex("^[a-z][a-z0-9-]{0,62}$", var.database_identifier))
    error_message = "database_identifier must be the identifier of one instance, without wildcards."
  }
}

variable "parameter_path" {
  description = "SSM path of the stack's settings."
  type        = string

  validation {
    condition     = can(regex("^(/[a-z0-9][a-z0-9-]*)+$", var.parameter_path))
    error_message = "parameter_path must start with '/' and end without one."
  }
}

variable "permissions_boundary" {
  description = "Permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}
