variable "name" {
  description = "Prefix of every name: project and stack."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, /16 to /19: a smaller one has no room for a load balancer's subnets."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 19, false)
    error_message = "cidr must be an IPv4 range between /16 and /19, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "The three availability zones. Empty: the first three that the region lists, which may be others one day: name them for what is to last."
  type        = list(string)
  default     = []

  validation {
    condition     = contains([0, 3], length(distinct(var.zones))) && length(var.zones) == length(distinct(var.zones))
    error_message = "zones must name three different availability zones, or none for the region's first three."
  }
}

variable "nat" {
  description = "How private subnets reach the internet: per-zone (a zone may fail), single (cheaper), none (only AWS services, over interface endpoints)."
  type        = string

  validation {
    condition     = contains(["none", "single", "per-zone"], var.nat)
    error_message = "nat must be none, single or per-zone."
  }
}

variable "flow_log_days" {
  description = "Days that the log of rejected connections is kept; 0 keeps none."
  type        = number
  default     = 14

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.flow_log_days)
    error_message = "flow_log_days must be 0 or a period CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365."
  }
}

variable "permissions_boundary" {
  description = "Permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}
