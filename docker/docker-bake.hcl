# Both images in one graph. Run from the root of the repository:
#   docker buildx bake -f docker/docker-bake.hcl
# Every variable can be set in the environment.

variable "DEBIAN" {
  default = "trixie"
}

variable "PHP" {
  default = "8.4"
}

# Base images. Their names end in _IMAGE, so that a tool can pin them as ref@digest.
variable "DEBIAN_IMAGE" {
  default = "debian:${DEBIAN}-slim"
}

variable "MAUTIC_IMAGE" {
  default = "mautic/mautic:7.2-fpm"
}

# Where the images come from, for their OCI labels. Labels are no build arguments: a new commit
# must not throw away the cache of an unchanged image.
variable "REVISION" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

variable "VERSION" {
  default = ""
}

# Stands for all that a migration depends on, for the label by which a deploy knows that there is
# nothing to migrate; empty: unknown.
variable "CODE" {
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

group "default" {
  targets = ["mautic", "nginx"]
}

# Mautic's code as it was released, in one layout. Never pushed.
target "release" {
  context    = "docker/mautic"
  dockerfile = "code.Dockerfile"
  target     = "release"
  args = {
    DEBIAN_IMAGE = DEBIAN_IMAGE
    MAUTIC_IMAGE = MAUTIC_IMAGE
  }
}

# Our plugins and themes alone. Never pushed.
target "own" {
  inherits = ["release"]
  target   = "own"
}

target "mautic" {
  context = "docker/mautic"
  contexts = {
    apt  = "docker/apt"
    code = "target:release"
  }
  args = {
    DEBIAN_IMAGE = DEBIAN_IMAGE
    PHP          = PHP
  }
  labels = merge(labels("mautic", "Mautic: php-fpm, workers, cron and console"), {
    "io.mautic-multidev.code" = CODE
  })
}

target "nginx" {
  context = "docker/nginx"
  contexts = {
    apt  = "docker/apt"
    code = "target:release"
    own  = "target:own"
  }
  args = {
    DEBIAN_IMAGE = DEBIAN_IMAGE
  }
  labels = labels("nginx", "nginx with Mautic's static files")
}
