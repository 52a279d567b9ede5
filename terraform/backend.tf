terraform {
  # Partial: `inv infra.*` gives bucket, key and region. The lock is a file beside the state.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
