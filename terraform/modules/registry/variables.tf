variable "name" {
  description = "Path below which the repositories live: project and stack."
  type        = string
}

variable "untagged_days" {
  description = "Days after which an image that has lost its last tag is deleted. Pods that still run it must be able to restart meanwhile."
  type        = number
  default     = 14

  validation {
    condition     = var.untagged_days >= 7 && floor(var.untagged_days) == var.untagged_days
    error_message = "untagged_days must be a whole number of at least 7: pods run digests and may restart."
  }
}

variable "cache_days" {
  description = "Days after which a build cache that nobody has renewed is deleted."
  type        = number
  default     = 30

  validation {
    condition     = var.cache_days >= 1 && floor(var.cache_days) == var.cache_days
    error_message = "cache_days must be a whole number of at least 1."
  }
}

variable "force_delete" {
  description = "Whether destroying the stack also deletes the images."
  type        = bool
  default     = false
}
