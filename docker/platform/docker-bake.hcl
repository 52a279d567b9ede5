# The platform's own image: docker buildx bake -f docker/platform/docker-bake.hcl

variable "DEBIAN" {
  default = "trixie"
}

variable "DEBIAN_IMAGE" {
  default = "debian:${DEBIAN}-slim"
}

variable "REPOSITORY" {
  default = "mautic-platform"
}

variable "TAG" {
  default = "latest"
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

# This folder, as seen from where bake is run: the project's root, unless it is given.
variable "CONTEXT" {
  default = "docker/platform"
}

group "default" {
  targets = ["proxy"]
}

target "proxy" {
  context = "${CONTEXT}/proxy"
  args    = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  tags    = ["${REPOSITORY}/proxy:${TAG}"]
  labels = {
    "org.opencontainers.image.title"    = "The local proxy of mautic-multidev"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.source"   = SOURCE
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.licenses" = "MIT"
  }
}
