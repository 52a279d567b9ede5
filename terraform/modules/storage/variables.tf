variable "name" {
  description = "Name of the file system: project and stack."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the mount targets, in three zones: where the nodes are."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "subnet_ids must be three subnets, one per zone."
  }
}

variable "clients" {
  description = "Security groups whose members may mount, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.clients) > 0
    error_message = "clients must name at least one security group: nobody could mount."
  }
}

variable "backup" {
  description = "Whether AWS Backup keeps a copy of every day for 35 days."
  type        = bool
}

variable "driver" {
  description = "The EFS CSI driver's roles, which alone may mount: nodes through access points, its controller also the whole, to remove the folders of deleted volumes. Null: whoever the clients' security groups let in."
  type = object({
    node_role_arn       = string
    controller_role_arn = string
  })
  default = null
}

variable "enforce_tls" {
  description = "Give the file system a policy: no mount that is not encrypted, and none but those of `driver`."
  type        = bool
  default     = true
}

variable "infrequent_access_days" {
  description = "Days after which a file nobody has read moves to cheaper storage, until it is read again; 0 for never."
  type        = number
  default     = 30

  validation {
    condition     = contains([0, 1, 7, 14, 30, 60, 90, 180, 270, 365], var.infrequent_access_days)
    error_message = "infrequent_access_days must be 0 or a period EFS knows: 1, 7, 14, 30, 60, 90, 180, 270, 365."
  }
}
