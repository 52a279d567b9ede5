# The image of the platform's provisioner: `inv platform.image` builds it, from the root of the repository.

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
  targets = ["provisioner"]
}

target "provisioner" {
  context    = "docker/platform/provisioner"
  contexts   = { apt = "docker/apt", core = "tasks/core" }
  dockerfile = "Dockerfile"
  args       = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  labels = {
    "org.opencontainers.image.title"       = "provisioner"
    "org.opencontainers.image.description" = "Creates and drops the databases of a cluster's environments"
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
