variable "name" {
  description = "Identifier of the instance: project and stack."
  type        = string

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) <= 63
    error_message = "name must be a-z, 0-9 and single '-', start with a letter, and hold at most 63 characters."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a route to or from outside, in three zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "subnet_ids must be three subnets, one per zone."
  }
}

variable "clients" {
  description = "Security groups whose members may connect, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.clients) > 0
    error_message = "clients must name at least one security group: nobody could connect."
  }
}

variable "engine_version" {
  description = "MySQL version, 8.4 or 8.4.x; RDS applies minor versions in the maintenance window."
  type        = string
  default     = "8.4"

  validation {
    condition     = can(regex("^8\\.4(\\.[0-9]+)?$", var.engine_version))
    error_message = "engine_version must be 8.4 or 8.4.x: the parameter group is of MySQL 8.4."
  }
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9-]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class must look like db.t4g.medium."
  }
}

variable "storage_gib" {
  description = "Size of the gp3 volume, and up to what it may grow by itself."
  type = object({
    initial = number
    max     = number
  })

  validation {
    condition     = var.storage_gib.initial >= 20 && var.storage_gib.max >= var.storage_gib.initial * 1.1
    error_message = "storage_gib.initial must be at least 20, and max at least a tenth more (RDS refuses less)."
  }
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over when the first fails."
  type        = bool
}

variable "protected" {
  description = "Refuse deletion, keep a final snapshot, and change only in the maintenance window."
  type        = bool
}

variable "backup_days" {
  description = "Days to which the database can be restored, to the second."
  type        = number

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days must be 1 to 35."
  }
}

variable "performance_insights" {
  description = "Whether query statistics are kept for seven days, which costs nothing. Small instance classes cannot."
  type        = bool

  validation {
    condition     = !var.performance_insights || !can(regex("^db\\.t[34]g?\\.(micro|small)$", var.instance_class))
    error_message = "performance_insights needs at least a medium instance class."
  }
}

variable "monitoring_seconds" {
  description = "Interval of the operating system's metrics; 0 for none."
  type        = number
  default     = 60

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.monitoring_seconds)
    error_message = "monitoring_seconds must be 0, 1, 5, 10, 15, 30 or 60."
  }
}

variable "parameters" {
  description = "MySQL parameters over those for Mautic, such as require_secure_transport = \"1\" for images whose client speaks TLS."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "Permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}
