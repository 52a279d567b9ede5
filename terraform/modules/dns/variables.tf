variable "domain" {
  description = "Domain of the stack; branches live one label below it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain))
    error_message = "domain must be a full domain in lower case without a final dot, such as mautic.company.org."
  }
}

variable "zone_id" {
  description = "An existing public Route 53 zone that holds the domain. Null: a zone is made for the domain."
  type        = string
  default     = null

  validation {
    condition     = var.zone_id == null || can(regex("^Z[A-Z0-9]+$", var.zone_id))
    error_message = "zone_id must be a Route 53 zone id, such as Z0123456789ABCDEFGHIJ."
  }
}

variable "wait_for_certificate" {
  description = "Wait until the certificate is issued. False for the first apply of a new zone, which nobody can ask before its name servers are entered in the parent zone."
  type        = bool
}

variable "load_balancer" {
  description = "Where the domain and all names below it point: DNS name and zone id of the Gateway's load balancer. Null as long as there is none."
  type = object({
    dns_name = string
    zone_id  = string
  })
  default = null
}
