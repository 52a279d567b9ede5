# The image of a cluster's entrance: `inv platform.image --part entrance` builds it, from the root of the repository.

variable "DEBIAN" {
  default = "trixie"
}

variable "DEBIAN_IMAGE" {
  default = "debian:${DEBIAN}-slim"
}

variable "REVISION" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

variable "VERSION" {
  default = ""
}

# pip's own variables, where this machine needs them to reach a package index; the certificates may
# be named for all programs.
variable "SSL_CERT_FILE" {
  default = ""
}

variable "PIP_CERT" {
  default = ""
}

variable "PIP_INDEX_URL" {
  default = ""
}

group "default" {
  targets = ["entrance"]
}

target "entrance" {
  context    = "docker/platform/entrance"
  contexts   = { apt = "docker/apt", core = "tasks/core", adapters = "tasks/adapters" }
  dockerfile = "Dockerfile"
  args       = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  labels = {
    "org.opencontainers.image.title"       = "entrance"
    "org.opencontainers.image.description" = "Leads to the environments of a cluster, and wakes those that sleep"
    "org.opencontainers.image.revision"    = REVISION
    "org.opencontainers.image.source"      = SOURCE
    "org.opencontainers.image.version"     = VERSION
    "org.opencontainers.image.base.name"   = DEBIAN_IMAGE
    "org.opencontainers.image.licenses"    = "MIT"
  }
  secret = concat(
    [for file in [PIP_CERT != "" ? PIP_CERT : SSL_CERT_FILE] : "id=pip_cert,src=${file}" if file != ""],
    [for url in [PIP_INDEX_URL] : "id=pip_index,env=PIP_INDEX_URL" if url != ""],
  )
}
