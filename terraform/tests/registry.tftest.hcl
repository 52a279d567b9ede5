mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name = "mautic-dev"
}

run "repositories" {
  module {
    source = "./modules/registry"
  }

  assert {
    condition     = sort([for repository in aws_ecr_repository.image : repository.name]) == tolist(["mautic-dev/mautic", "mautic-dev/nginx", "mautic-dev/seed-dashboards", "mautic-dev/seed-files", "mautic-dev/seed-images"]) && aws_ecr_repository.cache.name == "mautic-dev/cache"
    error_message = "Two repositories of images, three of seeds' uploads and one of caches."
  }
  assert {
    condition     = alltrue([for repository in values(aws_ecr_repository.image) : repository.image_scanning_configuration[0].scan_on_push]) && aws_ecr_repository.cache.image_scanning_configuration[0].scan_on_push
    error_message = "Everything is scanned when it is pushed."
  }
  assert {
    condition     = alltrue([for repository in concat(values(aws_ecr_repository.image), [aws_ecr_repository.cache]) : repository.encryption_configuration[0].encryption_type == "AES256" && repository.image_tag_mutability == "MUTABLE"])
    error_message = "Encrypted; tags may move."
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : !repository.force_delete])
    error_message = "A repository with images in it is not deleted by the way."
  }
  assert {
    condition     = output.url == "222233334444.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev"
    error_message = "The url names what is common to the repositories, as registry.url of an environment."
  }
  assert {
    condition     = sort(keys(output.repository_urls)) == tolist(["cache", "mautic", "nginx", "seed-dashboards", "seed-files", "seed-images"]) && keys(output.repository_arns) == keys(output.repository_urls)
    error_message = "Each repository by its name."
  }

  assert {
    condition     = aws_ecr_repository.entrance.name == "mautic-dev/entrance" && !contains(keys(output.repository_arns), "entrance")
    error_message = "The entrance's repository, which no role of CI may write."
  }
  assert {
    condition     = aws_ecr_repository.provisioner.name == "mautic-dev/provisioner" && !contains(keys(output.repository_arns), "provisioner")
    error_message = "The provisioner's repository, which no role of CI may write."
  }

  # no rule touches a tagged image
  assert {
    condition = alltrue([
      for policy in aws_ecr_lifecycle_policy.image : jsondecode(policy.policy).rules == [{
        rulePriority = 1
        description  = "Images without any tag"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
        action       = { type = "expire" }
      }]
    ]) && length(aws_ecr_lifecycle_policy.image) == 5
    error_message = "A tag means that something may run the image: only the suite, which knows, removes it."
  }
  assert {
    condition = [for rule in jsondecode(aws_ecr_lifecycle_policy.cache.policy).rules : [rule.selection.tagStatus, rule.selection.countNumber]] == [
      ["untagged", 1], ["any", 30],
    ]
    error_message = "Caches go by age."
  }
}

run "destroyed_with_its_images" {
  variables {
    force_delete = true
  }
  module {
    source = "./modules/registry"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.force_delete])
    error_message = "Where a stack may be thrown away, its images may."
  }
}

run "wrong_values" {
  command = plan
  variables {
    untagged_days = 6   # untagged images gone too soon
    cache_days    = 0.5 # half a day
  }
  module {
    source = "./modules/registry"
  }
  expect_failures = [var.untagged_days, var.cache_days]
}
