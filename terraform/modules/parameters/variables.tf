variable "path" {
  description = "SSM path of the stack: /mautic-multidev/<stack>."
  type        = string

  validation {
    condition     = can(regex("^(/[a-z0-9][a-z0-9-]*)+$", var.path))
    error_message = "path must start with '/', end without one, and hold a-z, 0-9 and '-' only."
  }
}

variable "values" {
  description = "What the suite reads, by name below the path. Addresses, names and ARNs: never a secret."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.values) : can(regex("^[a-z0-9-]+(/[a-z0-9-]+)*$", name))])
    error_message = "The names in values must be made of a-z, 0-9, '-' and '/'."
  }
}
