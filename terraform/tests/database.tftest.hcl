mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                 = "mautic-prod"
  vpc_id               = "vpc-1"
  subnet_ids           = ["subnet-a", "subnet-b", "subnet-c"]
  clients              = { cluster = "sg-cluster" }
  instance_class       = "db.m6g.large"
  storage_gib          = { initial = 100, max = 1000 }
  multi_az             = true
  protected            = true
  backup_days          = 30
  performance_insights = true
}

run "protected" {
  module {
    source = "./modules/database"
  }

  assert {
    condition     = aws_db_instance.this.engine == "mysql" && aws_db_instance.this.engine_version == "8.4" && aws_db_parameter_group.this.family == "mysql8.4"
    error_message = "MySQL 8.4."
  }
  assert {
    condition     = aws_db_instance.this.storage_type == "gp3" && aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "A gp3 volume, encrypted with the database's own key."
  }
  assert {
    condition     = aws_db_instance.this.allocated_storage == 100 && aws_db_instance.this.max_allocated_storage == 1000
    error_message = "The volume grows by itself, up to a limit."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.master_user_secret_kms_key_id == aws_kms_key.this.key_id
    error_message = "RDS keeps the password; Terraform never sees one."
  }
  assert {
    condition     = !aws_db_instance.this.publicly_accessible
    error_message = "No public address."
  }
  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && aws_db_instance.this.backup_retention_period == 30
    error_message = "A standby, no deletion, thirty days of backups."
  }
  assert {
    condition     = !aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == "mautic-prod-final" && !aws_db_instance.this.delete_automated_backups && aws_db_instance.this.copy_tags_to_snapshot
    error_message = "Whatever happens, a snapshot stays."
  }
  assert {
    condition     = !aws_db_instance.this.apply_immediately && aws_db_instance.this.auto_minor_version_upgrade && !aws_db_instance.this.allow_major_version_upgrade
    error_message = "Changes wait for the maintenance window; major versions for a person."
  }
  assert {
    condition     = aws_db_instance.this.performance_insights_enabled && aws_db_instance.this.performance_insights_retention_period == 7 && aws_db_instance.this.performance_insights_kms_key_id == aws_kms_key.this.arn
    error_message = "Query statistics for the seven days that are free, encrypted."
  }
  assert {
    condition     = aws_db_instance.this.enabled_cloudwatch_logs_exports == toset(["error", "slowquery"]) && aws_db_instance.this.monitoring_interval == 60
    error_message = "Errors, slow queries and the machine's metrics are kept."
  }

  # reached by the cluster only
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.client) == ["cluster"]
    error_message = "One rule."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.client : rule.referenced_security_group_id == "sg-cluster" && rule.cidr_ipv4 == null && rule.from_port == 3306 && rule.to_port == 3306 && rule.ip_protocol == "tcp"])
    error_message = "MySQL's port, from the cluster's security group, from no address."
  }
  assert {
    condition     = aws_db_subnet_group.this.subnet_ids == toset(["subnet-a", "subnet-b", "subnet-c"])
    error_message = "In the data subnets."
  }
  assert {
    condition     = jsondecode(aws_iam_role.monitoring[0].assume_role_policy).Statement[0].Principal == { Service = "monitoring.rds.amazonaws.com" } && aws_iam_role_policy_attachment.monitoring[0].policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    error_message = "The monitoring role is for RDS' monitoring."
  }
}

run "parameters_for_mautic" {
  variables {
    parameters = { long_query_time = "5", require_secure_transport = "1" }
  }
  module {
    source = "./modules/database"
  }

  assert {
    condition = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value } == {
      character_set_server       = "utf8mb4"
      collation_server           = "utf8mb4_unicode_ci"
      max_allowed_packet         = "67108864"
      local_infile               = "0"
      innodb_print_all_deadlocks = "1"
      slow_query_log             = "1"
      long_query_time            = "5"
      log_output                 = "FILE"
      require_secure_transport   = "1"
    }
    error_message = "Mautic's parameters, and over them one's own."
  }
}

run "may_be_thrown_away" {
  variables {
    protected            = false
    multi_az             = false
    backup_days          = 7
    instance_class       = "db.t4g.small"
    performance_insights = false
    monitoring_seconds   = 0
  }
  module {
    source = "./modules/database"
  }

  assert {
    condition     = !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.apply_immediately && !aws_db_instance.this.multi_az
    error_message = "Quick to change, quick to remove."
  }
  assert {
    condition     = aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible && aws_db_instance.this.manage_master_user_password
    error_message = "But as private as the other."
  }
  assert {
    condition     = length(aws_iam_role.monitoring) == 0 && aws_db_instance.this.monitoring_interval == 0 && !aws_db_instance.this.performance_insights_enabled
    error_message = "No metrics, no role for them."
  }
}

run "wrong_values_1" {
  command = plan
  variables {
    engine_version     = "8.0"                        # another mysql
    instance_class     = "db.t4g.small"               # statistics on a small instance
    storage_gib        = { initial = 100, max = 105 } # no room to grow
    backup_days        = 0                            # no backup
    clients            = {}                           # nobody connects
    monitoring_seconds = 20                           # not an interval
  }
  module {
    source = "./modules/database"
  }
  expect_failures = [var.engine_version, var.performance_insights, var.storage_gib, var.backup_days, var.clients, var.monitoring_seconds]
}

run "wrong_values_2" {
  command = plan
  variables {
    instance_class = "t4g.medium" # not an instance class
  }
  module {
    source = "./modules/database"
  }
  expect_failures = [var.instance_class]
}
