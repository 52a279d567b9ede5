output "parameter_path" {
  description = "SSM path that the suite reads the stack's settings from."
  value       = module.parameters.path
}

output "parameter_names" {
  description = "Every parameter below that path."
  value       = module.parameters.names
}

output "tags" {
  description = "Tags that everything carries."
  value       = local.tags
}

output "registry_url" {
  description = "Host and path below which the repositories mautic, nginx, seed-* and cache live."
  value       = module.registry.url
}

output "cluster_name" {
  description = "Name of the EKS cluster."
  value       = module.cluster.name
}

output "cluster_endpoint" {
  description = "Address of its API server."
  value       = module.cluster.endpoint
}

output "database_host" {
  description = "Host name of the database server."
  value       = module.database.host
}

output "database_identifier" {
  description = "Identifier of the database server, for snapshots and restores."
  value       = module.database.identifier
}

output "database_admin_secret_arn" {
  description = "ARN of the administrator's secret; its value is read in the cluster only."
  value       = module.database.admin_secret_arn
}

output "file_system_id" {
  description = "The EFS file system."
  value       = module.storage.file_system_id
}

output "storage_classes" {
  description = "Reclaim policy and parameters of the storage classes."
  value       = module.storage.storage_classes
}

output "domain" {
  description = "Domain of the stack."
  value       = module.dns.domain
}

output "name_servers" {
  description = "Name servers to enter in the parent zone, if the zone was made here."
  value       = module.dns.name_servers
}

output "certificate_arn" {
  description = "The wildcard certificate."
  value       = module.dns.certificate_arn
}

output "ci_main_role_arn" {
  description = "Role of jobs of the main branch."
  value       = module.ci.main_role_arn
}

output "ci_branches_role_arn" {
  description = "Role of jobs of branches; null where branches have none."
  value       = module.ci.branches_role_arn
}

output "ci_infrastructure_role_arn" {
  description = "Role of the jobs that run Terraform on this stack; null where `infrastructure` is."
  value       = one(module.infrastructure[*].role_arn)
}

output "signing_key_arn" {
  description = "ARN of the alias of the key that signs what is stated of images: signing_key of invoke.yaml; null where `signing` is."
  value       = one(module.signing[*].alias_arn)
}

output "oidc_provider_arn" {
  description = "GitLab's OIDC provider: gitlab.provider_arn of the account's other stacks."
  value       = module.ci.provider_arn
}

output "database_role_arn" {
  description = "Role of the database Job's service account."
  value       = module.database_identity.role_arn
}

output "load_balancers_role_arn" {
  description = "Role of the AWS Load Balancer Controller."
  value       = module.load_balancer_identity.role_arn
}
