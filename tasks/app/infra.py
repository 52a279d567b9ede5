"""Puts together a stack's Terraform and the bucket of its state."""

from __future__ import annotations

from tasks.adapters.aws.state_bucket import StateBucket
from tasks.adapters.terraform import Terraform
from tasks.app.paths import PROJECT
from tasks.app.session import Session
from tasks.core.names import bucket_name
from tasks.flows.infra.context import FOLDER, StackContext, only_stack, variables_files


def stack_context(session: Session, stack: str) -> StackContext:
    """Return a stack with its Terraform and the bucket of its state.

    Args:
        session: the run.
        stack: the stack's name; empty for the only one.

    Raises:
        InputError: there is no such stack, or a variables file is missing.
        AwsError: the credentials are missing, or refused.
    """
    settings = session.settings
    name = stack or only_stack(settings.stacks)
    own = settings.stack(name)
    files = variables_files(session.root, name, own.variables)
    aws = session.aws(name)
    account = aws.identity.account
    bucket = own.state_bucket or bucket_name(settings.project, account, own.region)
    tags = {"Project": settings.project, "ManagedBy": "inv infra.bootstrap"}
    return StackContext(
        name=name,
        account=account,
        region=own.region,
        files=files,
        protected=own.protected,
        root=session.root,
        project=PROJECT,
        commit=session.git.commit(),
        terraform=Terraform(session.runner, session.root / FOLDER, name, aws.environ),
        bucket=StateBucket(aws, bucket, tags),
        console=session.console,
    )
