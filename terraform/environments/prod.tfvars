# The main branch alone: a zone may fail. About 1,000 USD a month (docs/infrastructure.md).
# The first block is yours to change; Terraform refuses the examples in it.
account_id = "111122223333"
region     = "eu-central-1"
# Not below the domain of the branches' stack: their code could set cookies for it.
domain = "mautic.example.com"
admins = ["arn:aws:iam::111122223333:role/administrators"]
gitlab = {
  project_path = "group/project"
  # In the same account as dev: the output oidc_provider_arn of that stack.
  provider_arn = null
  # No branch_refs: only jobs of the main branch get into this stack.
}
# GitLab's shared runners have no fixed addresses. With runners of your own: their range.
api_cidrs = ["0.0.0.0/0"]

stack     = "prod"
protected = true
cidr      = "10.30.0.0/16"
zones     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
nat       = "per-zone"

nodes = {
  desired        = 5
  min            = 5
  max            = 10
  instance_types = ["m6i.large"]
}

database = {
  instance_class = "db.m6g.large"
  storage_gib    = { initial = 100, max = 1000 }
  multi_az       = true
  backup_days    = 30
}

files = { backup = true }

log_days = 90
