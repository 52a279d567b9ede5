# Every branch: one cluster, no standby, one NAT gateway. About 610 USD a month (docs/infrastructure.md).
# The first block is yours to change; Terraform refuses the examples in it.
account_id = "111122223333"
region     = "eu-central-1"
domain     = "dev.example.org"
admins     = ["arn:aws:iam::111122223333:role/administrators"]
gitlab = {
  project_path = "group/project"
  branch_refs  = ["*"]
}
# GitLab's shared runners have no fixed addresses. With runners of your own: their range.
api_cidrs = ["0.0.0.0/0"]

stack     = "dev"
protected = false
cidr      = "10.20.0.0/16"
zones     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
nat       = "single"

nodes = {
  desired        = 5
  min            = 3
  max            = 8
  instance_types = ["t3.large"]
}

database = {
  instance_class = "db.t4g.medium"
  storage_gib    = { initial = 50, max = 200 }
  multi_az       = false
  backup_days    = 7
}

files = { backup = false }

log_days = 14
