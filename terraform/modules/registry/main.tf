locals {
  # Those of seeds hold the uploads that branches share, one for each of their folders; in the clear, as pictures are.
  images = toset(["mautic", "nginx", "seed-dashboards", "seed-files", "seed-images"])
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_51:`latest` moves, and equal content is tagged anew instead of built; pods run digests, which cannot change
  #checkov:skip=CKV_AWS_136:ECR encrypts with its own key; who may pull is a matter of IAM, no key changes that
  for_each = local.images

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "MUTABLE"
  force_delete         = var.force_delete

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

# No rule may count or date tagged images. A lifecycle rule knows neither which digests pods run nor
# that an image pushed a year ago was tagged for a branch a minute ago: re-tagging does not refresh
# its age. The suite removes images, by what runs and can be rolled back to; only what has lost its last
# tag expires here, unless a list of manifests that stays names it.
resource "aws_ecr_lifecycle_policy" "image" {
  for_each = aws_ecr_repository.image

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Images without any tag"
      selection = {
        tagStatus   = "untagged"
        countType   = "sinceImagePushed"
        countUnit   = "days"
        countNumber = var.untagged_days
      }
      action = { type = "expire" }
    }]
  })
}

# What leads to every branch and starts those that sleep; as for the provisioner.
resource "aws_ecr_repository" "entrance" {
  #checkov:skip=CKV_AWS_51:a build of the same content replaces its tag; pods run digests, which cannot change
  #checkov:skip=CKV_AWS_136:as for the images
  name                 = "${var.name}/entrance"
  image_tag_mutability = "MUTABLE"
  force_delete         = var.force_delete

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

# No role of CI may push here: what runs from it holds the rights to every database. `inv platform.image` fills it, and
# pods name it by digest, so nothing in it ever expires by itself.
resource "aws_ecr_repository" "provisioner" {
  #checkov:skip=CKV_AWS_51:a build of the same content replaces its tag; pods run digests, which cannot change
  #checkov:skip=CKV_AWS_136:as for the images
  name                 = "${var.name}/provisioner"
  image_tag_mutability = "MUTABLE"
  force_delete         = var.force_delete

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_repository" "cache" {
  #checkov:skip=CKV_AWS_51:every build writes its cache over the last one
  #checkov:skip=CKV_AWS_136:as for the images
  name                 = "${var.name}/cache"
  image_tag_mutability = "MUTABLE"
  force_delete         = true # nothing is lost with it but minutes of the next build

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

# Nothing runs from the cache: here tagged images may go by age as well.
resource "aws_ecr_lifecycle_policy" "cache" {
  repository = aws_ecr_repository.cache.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Caches that a newer build has replaced"
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = 1
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Caches that no build has renewed"
        selection = {
          tagStatus   = "any"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = var.cache_days
        }
        action = { type = "expire" }
      },
    ]
  })
}
