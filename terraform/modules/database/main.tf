locals {
  parameters = merge(
    {
      character_set_server       = "utf8mb4" # contacts' names hold every script and emoji
      collation_server           = "utf8mb4_unicode_ci"
      max_allowed_packet         = "67108864" # 64 MiB: e-mail bodies with inlined images, imports
      local_infile               = "0"
      innodb_print_all_deadlocks = "1" # segment rebuilds and campaign triggers deadlock at times
      slow_query_log             = "1"
      long_query_time            = "2" # seconds
      log_output                 = "FILE"
    },
    var.parameters,
  )
}

resource "aws_kms_key" "this" {
  #checkov:skip=CKV2_AWS_64:KMS' default key policy, which leaves all decisions to IAM, is the one wanted
  description             = "Database ${var.name}: storage, snapshots, statistics, master password"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-database"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "MySQL, from the cluster's pods only"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.clients

  security_group_id            = aws_security_group.this.id
  description                  = "MySQL from ${each.key}"
  referenced_security_group_id = each.value
  from_port                    = 3306
  to_port                      = 3306
  ip_protocol                  = "tcp"
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-mysql84-"
  family      = "mysql8.4"
  description = "MySQL 8.4 for Mautic"

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_role" "monitoring" {
  count = var.monitoring_seconds > 0 ? 1 : 0

  name                 = "${var.name}-database-monitoring"
  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EnhancedMonitoring"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
    }]
  })
}

data "aws_partition" "current" {}

resource "aws_iam_role_policy_attachment" "monitoring" {
  count = var.monitoring_seconds > 0 ? 1 : 0

  role       = aws_iam_role.monitoring[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_161:branches get MySQL users of their own from a Job; nobody logs in by IAM
  #checkov:skip=CKV_AWS_157:a standby is a variable, and the root refuses a protected stack without one
  #checkov:skip=CKV_AWS_293:deletion protection is a variable, and on in protected stacks
  #checkov:skip=CKV_AWS_353:query statistics are a variable: the smallest instance classes cannot keep them
  #checkov:skip=CKV2_AWS_69:PHP's MySQL client speaks plain unless the image is told a CA: require_secure_transport is one of `parameters`; the traffic stays inside the VPC
  #checkov:skip=CKV_AWS_118:the interval is a variable, 60 s unless told otherwise
  identifier     = var.name
  engine         = "mysql"
  engine_version = var.engine_version
  instance_class = var.instance_class

  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.this.arn
  allocated_storage     = var.storage_gib.initial
  max_allocated_storage = var.storage_gib.max

  # Made, kept and renewed by RDS in Secrets Manager: no password in any state, plan or variable.
  username                      = "admin"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = aws_kms_key.this.key_id

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  port                   = 3306
  publicly_accessible    = false
  multi_az               = var.multi_az
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period = var.backup_days
  backup_window           = "01:30-02:30" # UTC
  maintenance_window      = "sun:03:00-sun:04:00"
  copy_tags_to_snapshot   = true

  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  apply_immediately           = !var.protected
  deletion_protection         = var.protected
  delete_automated_backups    = !var.protected
  skip_final_snapshot         = !var.protected
  final_snapshot_identifier   = var.protected ? "${var.name}-final" : null

  enabled_cloudwatch_logs_exports       = ["error", "slowquery"]
  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? aws_kms_key.this.arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null
  monitoring_interval                   = var.monitoring_seconds
  monitoring_role_arn                   = var.monitoring_seconds > 0 ? aws_iam_role.monitoring[0].arn : null

  depends_on = [aws_iam_role_policy_attachment.monitoring]
}
