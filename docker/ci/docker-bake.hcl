# The images of GitLab's jobs. `inv ci.image` builds them from the root of the repository.

variable "DEBIAN" {
  default = "trixie"
}

variable "DEBIAN_IMAGE" {
  default = "debian:${DEBIAN}-slim"
}

variable "TERRAFORM_IMAGE" {
  default = "hashicorp/terraform:1.11.4"
}

# Anything here bakes the image with Terraform, too.
variable "INFRA" {
  default = ""
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

function "labels" {
  params = [title, description]
  result = {
    "org.opencontainers.image.title"       = title
    "org.opencontainers.image.description" = description
    "org.opencontainers.image.revision"    = REVISION
    "org.opencontainers.image.source"      = SOURCE
    "org.opencontainers.image.version"     = VERSION
    "org.opencontainers.image.base.name"   = DEBIAN_IMAGE
  }
}

# A machine's way to its package index: secrets of the build, no part of the image.
function "secrets" {
  params = []
  result = concat(
    [for file in [PIP_CERT != "" ? PIP_CERT : SSL_CERT_FILE] : "id=pip_cert,src=${file}" if file != ""],
    [for url in [PIP_INDEX_URL] : "id=pip_index,env=PIP_INDEX_URL" if url != ""],
  )
}

group "default" {
  targets = INFRA == "" ? ["ci"] : ["ci", "ci-infra"]
}

target "ci" {
  context    = "."
  contexts   = { apt = "docker/apt" }
  dockerfile = "docker/ci/Dockerfile"
  target     = "ci"
  args       = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  labels     = labels("ci", "The suite and its tools, for GitLab's jobs")
  secret     = secrets()
}

target "ci-infra" {
  context    = "."
  contexts   = { apt = "docker/apt" }
  dockerfile = "docker/ci/Dockerfile"
  target     = "infra"
  args = {
    DEBIAN_IMAGE    = DEBIAN_IMAGE
    TERRAFORM_IMAGE = TERRAFORM_IMAGE
  }
  labels = labels("ci-infra", "The suite, its tools and Terraform, for GitLab's jobs")
  secret = secrets()
}
