resource "aws_ssm_parameter" "this" {
  #checkov:skip=CKV2_AWS_34:addresses, names and ARNs; secrets stay in Secrets Manager and stand here by ARN only
  for_each = var.values

  name  = "${var.path}/${each.key}"
  type  = "String"
  value = each.value
}
