output "path" {
  description = "SSM path below which all parameters of the stack lie."
  value       = var.path

  # Whoever reads the path has got all of them.
  depends_on = [aws_ssm_parameter.this]
}

output "names" {
  description = "Full name of every parameter."
  value       = sort([for parameter in aws_ssm_parameter.this : parameter.name])
}
