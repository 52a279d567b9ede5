output "url" {
  description = "Host and path below which the repositories mautic, nginx, seed-* and cache live."
  value       = trimsuffix(aws_ecr_repository.cache.repository_url, "/cache")
}

output "repository_urls" {
  description = "Address of each repository: mautic, nginx, seed-*, cache."
  value = merge(
    { for key, repository in aws_ecr_repository.image : key => repository.repository_url },
    { cache = aws_ecr_repository.cache.repository_url },
  )
}

output "repository_arns" {
  description = "ARN of each repository: mautic, nginx, seed-*, cache."
  value = merge(
    { for key, repository in aws_ecr_repository.image : key => repository.arn },
    { cache = aws_ecr_repository.cache.arn },
  )
}
