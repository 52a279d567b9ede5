# The stand-ins, all in one graph: docker buildx bake -f docker/standins/docker-bake.hcl
# Their base is debian:<suite>-slim, or what debian.sh makes of it.

variable "DEBIAN" {
  default = "trixie"
}

variable "DEBIAN_IMAGE" {
  default = "debian:${DEBIAN}-slim"
}

# Where the images are tagged: <REPOSITORY>/<name>:<TAG>
variable "REPOSITORY" {
  default = "standins"
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

function "labels" {
  params = [title]
  result = {
    "io.mautic-multidev.standin"        = "true"
    "org.opencontainers.image.title"    = title
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.source"   = SOURCE
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.licenses" = "MIT"
  }
}

group "default" {
  targets = ["mautic", "database", "registry"]
}

# This folder, as seen from where bake is run: the project's root, unless it is given.
variable "CONTEXT" {
  default = "docker/standins"
}

target "mautic" {
  context = "${CONTEXT}/mautic"
  tags    = ["${REPOSITORY}/mautic:${TAG}"]
  labels  = labels("Stand-in for Mautic's code, not Mautic")
}

target "database" {
  context = "${CONTEXT}/database"
  args    = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  tags    = ["${REPOSITORY}/database:${TAG}"]
  labels  = labels("Stand-in for MySQL: MariaDB from Debian")
}

target "registry" {
  context = "${CONTEXT}/registry"
  args    = { DEBIAN_IMAGE = DEBIAN_IMAGE }
  tags    = ["${REPOSITORY}/registry:${TAG}"]
  labels  = labels("Stand-in for the registry image: CNCF distribution from Debian")
}
