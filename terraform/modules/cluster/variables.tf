variable "name" {
  description = "Name of the cluster: project and stack."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes version, as major.minor."
  type        = string

  validation {
    condition     = can(regex("^1\\.(3[4-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version must be 1.34 or newer, as major.minor in quotes."
  }
}

variable "support_type" {
  description = "STANDARD: EKS upgrades the cluster when its version leaves standard support. EXTENDED: it stays, at six times the price."
  type        = string
  default     = "STANDARD"

  validation {
    condition     = contains(["STANDARD", "EXTENDED"], var.support_type)
    error_message = "support_type must be STANDARD or EXTENDED."
  }
}

variable "subnet_ids" {
  description = "Private subnets of the nodes, in three zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "subnet_ids must be three private subnets, one per zone."
  }
}

variable "api_cidrs" {
  description = "Address ranges that may reach the API server over the internet. Empty: only from inside the VPC."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrnetmask(cidr))])
    error_message = "api_cidrs must be IPv4 ranges, such as 198.51.100.0/24."
  }
}

variable "nodes" {
  description = "The managed node group: how many workers, of what kind, with how large a disk."
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

  validation {
    condition     = var.nodes.min >= 1 && var.nodes.min <= var.nodes.desired && var.nodes.desired <= var.nodes.max
    error_message = "nodes must hold 1 <= min <= desired <= max."
  }
  validation {
    condition     = contains(["ON_DEMAND", "SPOT"], var.nodes.capacity_type)
    error_message = "nodes.capacity_type must be ON_DEMAND or SPOT."
  }
  validation {
    condition     = contains(["AL2023_x86_64_STANDARD", "AL2023_ARM_64_STANDARD", "BOTTLEROCKET_x86_64", "BOTTLEROCKET_ARM_64"], var.nodes.ami_type)
    error_message = "nodes.ami_type must be AL2023_x86_64_STANDARD, AL2023_ARM_64_STANDARD, BOTTLEROCKET_x86_64 or BOTTLEROCKET_ARM_64."
  }
  validation {
    condition     = length(var.nodes.instance_types) > 0
    error_message = "nodes.instance_types must name at least one instance type."
  }
  validation {
    condition     = var.nodes.disk_gib >= 20
    error_message = "nodes.disk_gib must be at least 20: images and emptyDirs live there."
  }
}

variable "admins" {
  description = "ARNs of the IAM roles and users that administer the cluster."
  type        = set(string)

  validation {
    condition     = length(var.admins) > 0 && alltrue([for arn in var.admins : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "admins must be at least one IAM role or user ARN; a session (arn:aws:sts::…:assumed-role/…) is none. Without one nobody could reach the cluster."
  }
}

variable "members" {
  description = "IAM roles that get Kubernetes groups, by a name of your choice. What a group may do is said by RBAC in the cluster."
  type = map(object({
    role_arn = string
    groups   = list(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for member in var.members : length(member.groups) > 0 && alltrue([for group in member.groups : !can(regex("^(system|eks|aws|amazon|iam):", group))])])
    error_message = "Each of members needs groups, and none may start with system:, eks:, aws:, amazon: or iam:."
  }
}

variable "identity" {
  description = "GitLab as the cluster's identity provider: its address, the `aud` of the tokens, the project, and the one branch whose tokens are taken (null: all). EKS reads the keys over the internet, at https:// without a port. Null: no tokens."
  type = object({
    issuer_url   = string
    audience     = string
    project_path = string
    ref          = optional(string)
  })
  default = null

  validation {
    condition     = var.identity == null || can(regex("^https://[a-z0-9.-]+(/[A-Za-z0-9._~-]+)*$", var.identity.issuer_url))
    error_message = "identity.issuer_url must start with https://, without a port and without a final slash: EKS takes no other."
  }
  validation {
    condition     = var.identity == null || can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$", var.identity.project_path))
    error_message = "identity.project_path must be group/project, with subgroups if any."
  }
}

variable "file_system_arn" {
  description = "The EFS file system that the CSI driver makes access points on."
  type        = string
}

variable "addon_versions" {
  description = "Versions of add-ons by name; one that is not named gets EKS' default for the Kubernetes version when it is created."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.addon_versions) : contains(["vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "aws-efs-csi-driver", "metrics-server"], name)])
    error_message = "addon_versions may name vpc-cni, kube-proxy, eks-pod-identity-agent, coredns, aws-efs-csi-driver and metrics-server."
  }
}

variable "log_days" {
  description = "Days that the control plane's logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days must be a period CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365."
  }
}

variable "tags" {
  description = "Tags of the machines and disks: a launch template does not get the provider's default tags through."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "Permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}
