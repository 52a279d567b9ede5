variable "stack" {
  description = "Name of the stack. Everything is called <project>-<stack>, and published under /mautic-multidev/<stack>."
  type        = string

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.stack)) && length(var.stack) <= 20
    error_message = "stack must be a-z, 0-9 and single '-', start with a letter, and hold at most 20 characters."
  }
}

variable "project" {
  description = "First part of every name: `project` of invoke.yaml."
  type        = string
  default     = "mautic"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.project)) && length(var.project) <= 40
    error_message = "project must be a-z, 0-9 and single '-', start with a letter, and hold at most 40 characters."
  }
  # IAM's 64 characters for the longest name of a role, "<project>-<stack>-database-monitoring".
  validation {
    condition     = length("${var.project}-${var.stack}-database-monitoring") <= 64
    error_message = "project and stack must hold at most 43 characters together: IAM's limit for the role <project>-<stack>-database-monitoring is 64."
  }
  validation {
    condition     = !startswith("${var.project}-", "sg-")
    error_message = "project must not begin with sg-: EC2 refuses security groups of such names."
  }
}

variable "account_id" {
  description = "The AWS account. Credentials of any other are refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id)) && var.account_id != "111122223333"
    error_message = "account_id must be the twelve digits of your account, in quotes; 111122223333 is the example of AWS' documentation."
  }
}

variable "region" {
  description = "The AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like eu-central-1."
  }
}

variable "protected" {
  description = "What people would miss: the database cannot be deleted, leaves a final snapshot and has a standby; destroying keeps images; changes of the database wait for the maintenance window."
  type        = bool
  default     = true

  validation {
    condition     = var.protected || var.stack != "prod"
    error_message = "The stack prod must be protected."
  }
}

variable "tags" {
  description = "Further tags of everything, such as a cost centre."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !contains(["project", "stack", "managedby"], lower(key)) && !startswith(lower(key), "aws:")])
    error_message = "tags must not set Project, Stack or ManagedBy, nor start with aws:."
  }
}

# --- network -------------------------------------------------------------------------------------

variable "cidr" {
  description = "Address range of the VPC, /16 to /19."
  type        = string
  default     = "10.20.0.0/16"
}

variable "zones" {
  description = "The three availability zones. Empty: the first three that the region lists, which may be others one day: name them for what is to last."
  type        = list(string)
  default     = []
}

variable "nat" {
  description = "How nodes reach the internet: per-zone, single or none (only AWS services, over interface endpoints)."
  type        = string
  default     = "single"
}

variable "flow_log_days" {
  description = "Days that the log of rejected connections is kept; 0 keeps none."
  type        = number
  default     = 14
}

# --- cluster -------------------------------------------------------------------------------------

variable "kubernetes_version" {
  description = "Kubernetes version of control plane and nodes, as major.minor; one step up at a time."
  type        = string
  default     = "1.36"
}

variable "support_type" {
  description = "STANDARD: EKS upgrades the cluster when its version leaves standard support. EXTENDED: it stays, at six times the price."
  type        = string
  default     = "STANDARD"
}

variable "api_cidrs" {
  description = "Address ranges that may reach the API server over the internet; credentials are needed all the same. Empty: only from inside the VPC. Runners without fixed addresses need 0.0.0.0/0."
  type        = list(string)
  default     = []
}

variable "nodes" {
  description = "The workers: desired, min and max number, instance types, AMI type, ON_DEMAND or SPOT, disk size."
  type = object({
    desired        = optional(number, 5)
    min            = optional(number, 3)
    max            = optional(number, 8)
    instance_types = optional(list(string), ["t3.large"])
    ami_type       = optional(string, "AL2023_x86_64_STANDARD")
    capacity_type  = optional(string, "ON_DEMAND")
    disk_gib       = optional(number, 50)
  })
  default = {}
}

variable "admins" {
  description = "ARNs of the IAM roles and users that administer the cluster."
  type        = set(string)
}

variable "addon_versions" {
  description = "Versions of EKS add-ons by name; the others get EKS' default."
  type        = map(string)
  default     = {}
}

variable "log_days" {
  description = "Days that the control plane's logs are kept."
  type        = number
  default     = 30
}

# --- platform: who in the cluster gets which role ------------------------------------------------

variable "platform_namespace" {
  description = "Namespace of the database Job: `platform_namespace` of invoke.yaml."
  type        = string
  default     = "mautic-system"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.platform_namespace)) && !startswith(var.platform_namespace, "kube-")
    error_message = "platform_namespace must be a Kubernetes namespace, and none of Kubernetes' own."
  }
}

# --- database ------------------------------------------------------------------------------------

variable "database" {
  description = "The MySQL server: instance class, storage, standby, backups, statistics, parameters over those for Mautic."
  type = object({
    instance_class       = optional(string, "db.t4g.medium")
    engine_version       = optional(string, "8.4")
    storage_gib          = optional(object({ initial = number, max = number }), { initial = 50, max = 200 })
    multi_az             = optional(bool, true)
    backup_days          = optional(number, 14)
    performance_insights = optional(bool, true)
    monitoring_seconds   = optional(number, 60)
    parameters           = optional(map(string), {})
  })
  default = {}

  validation {
    condition     = !var.protected || var.database.multi_az
    error_message = "A protected stack needs database.multi_az: without a standby, a failed zone is an outage."
  }
  validation {
    condition     = !var.protected || var.database.backup_days >= 7
    error_message = "A protected stack needs database.backup_days of at least 7."
  }
}

# --- files ---------------------------------------------------------------------------------------

variable "files" {
  description = "The shared file system: daily backups, whether only the cluster's driver may mount them, encrypted, days until unread files move to cheaper storage."
  type = object({
    backup                 = optional(bool, true)
    enforce_tls            = optional(bool, true)
    infrequent_access_days = optional(number, 30)
  })
  default = {}

  validation {
    condition     = !var.protected || var.files.backup
    error_message = "A protected stack needs files.backup."
  }
}

# --- registry ------------------------------------------------------------------------------------

variable "registry" {
  description = "The image repositories: days until an image without any tag, and a cache nobody renews, is deleted."
  type = object({
    untagged_days = optional(number, 14)
    cache_days    = optional(number, 30)
  })
  default = {}
}

# --- domain --------------------------------------------------------------------------------------

variable "domain" {
  description = "Domain of the stack; branches live one label below it."
  type        = string

  validation {
    condition     = !can(regex("(^|\\.)example\\.(com|org|net)$", var.domain))
    error_message = "domain must be one of yours: example.com, .org and .net belong to nobody."
  }
}

variable "zone_id" {
  description = "An existing public Route 53 zone that holds the domain. Null: a zone is made for the domain."
  type        = string
  default     = null
}

variable "wait_for_certificate" {
  description = "Wait until the certificate is issued. False for the first apply of a new zone."
  type        = bool
  default     = true
}

variable "load_balancer" {
  description = "DNS name and zone id of the Gateway's load balancer, once it is there: the domain and all names below it then point to it."
  type        = object({ dns_name = string, zone_id = string })
  default     = null
}

# --- CI ------------------------------------------------------------------------------------------

variable "gitlab" {
  description = "The GitLab project whose jobs build and deploy: address, token audience, an existing OIDC provider, project path, main branch, patterns of branches, audience of the tokens for the cluster."
  type = object({
    project_path = string
    url          = optional(string, "https://gitlab.com")
    audience     = optional(string, "https://gitlab.com")
    provider_arn = optional(string)
    main_ref     = optional(string, "main")
    branch_refs  = optional(list(string), [])
    # The `aud` of the tokens by which jobs enter the cluster, each branch as a user of its own. Null:
    # they enter by their role in AWS, as one of two groups.
    cluster_audience = optional(string)
  })

  validation {
    condition     = !var.protected || length(var.gitlab.branch_refs) == 0
    error_message = "A protected stack takes no branch_refs: whoever may push a branch's image may move production's tags. Give branches a stack of their own."
  }
}

variable "infrastructure" {
  description = "The role of GitLab's Terraform jobs, which trusts the main branch alone: the bucket of this stack's state, which no other stack may have. Null: no such role, people apply."
  type = object({
    state_bucket = string
  })
  default = null
}

variable "signing" {
  description = "A key that signs what is stated of images, by the main branch's jobs alone: roles and users that deploy besides, and so check signatures. Null: no key."
  type = object({
    verifier_arns = optional(list(string), [])
  })
  default = null
}

# --- costs ---------------------------------------------------------------------------------------

variable "budget" {
  description = "Alarm by e-mail at 80 % of a monthly sum and when the forecast passes it; by_stack counts only this stack's Stack tag, which must be a cost allocation tag in Billing. Null: no alarm."
  type = object({
    monthly_usd = number
    emails      = list(string)
    by_stack    = optional(bool, false)
  })
  default = null
}
