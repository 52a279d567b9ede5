output "name" {
  description = "The cluster's name, once people, CI and the suite can work in it."
  value       = aws_eks_cluster.this.name

  depends_on = [
    aws_eks_access_policy_association.admin,
    aws_eks_access_entry.member,
    aws_eks_identity_provider_config.gitlab,
  ]
}

output "arn" {
  description = "The cluster's ARN."
  value       = aws_eks_cluster.this.arn
}

output "endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "security_group_id" {
  description = "Security group of control plane, nodes and pods."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "efs_csi_role_arn" {
  description = "Role of the EFS CSI driver's controller."
  value       = module.efs_csi_identity.role_arn
}

output "efs_csi_roles" {
  description = "Roles of the EFS CSI driver, which alone mounts the files."
  value = {
    node_role_arn       = module.efs_csi_node_identity.role_arn
    controller_role_arn = module.efs_csi_identity.role_arn
  }
}

output "efs_csi_policy" {
  description = "What it may do, as JSON."
  value       = module.efs_csi_identity.policy
}
