"""`inv infra.*` with Terraform itself, its state on moto: plans, applies, locks, signals, the end.

The code applied is small (tests/support/infra.py), so that a command takes a second or two.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.support.aws import REGION, Moto
from tests.support.infra import PLAIN, Running, Stack, command_of
from tests.support.suite import Inv, git
from tests.support.terminal import Terminal

WAIT_SECONDS = 60.0


@pytest.fixture
def stack(forking: Inv, checkout: Path, aws: Moto, project: str) -> Stack:
    """A stack without any provider; its bucket is there."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    made = Stack(forking, checkout, aws, project)
    made.write(PLAIN)
    made.make_bucket()
    return made


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


# -- the state's bucket ---------------------------------------------------------------------------


def test_the_bucket_is_made_private_encrypted_and_versioned(stack: Stack) -> None:
    s3 = stack.aws.client("s3")
    stack.own["state_bucket"] = bucket = f"{stack.project}-states"

    dry = stack.run("bootstrap", "--dry-run")
    assert f"create  bucket {bucket}" in dry.stdout
    assert bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}

    done = stack.run("bootstrap")
    assert "next: inv infra.plan --stack dev" in done.stderr
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert len(block) == 4
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION

    again = stack.run("bootstrap", "--dry-run")
    assert "nothing to do" in again.stdout


def test_a_bucket_gets_back_what_it_lacks_and_keeps_what_is_not_ours(stack: Stack) -> None:
    s3 = stack.aws.client("s3")
    stack.run("bootstrap")
    theirs = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{stack.bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
    s3.put_bucket_policy(Bucket=stack.bucket, Policy=policy)
    s3.put_bucket_versioning(Bucket=stack.bucket, VersioningConfiguration={"Status": "Suspended"})
    tags = s3.get_bucket_tagging(Bucket=stack.bucket)["TagSet"]
    mine = [{"Key": "Project", "Value": "other"}, {"Key": "Theirs", "Value": "1"}]
    s3.put_bucket_tagging(Bucket=stack.bucket, Tagging={"TagSet": mine})

    dry = stack.run("bootstrap", "--dry-run", "--format", "json")
    assert json.loads(dry.stdout) == {
        "bucket": stack.bucket,
        "create": False,
        "set": ["versioning", "TLS only", "tags"],
    }
    stack.run("bootstrap")
    found = json.loads(s3.get_bucket_policy(Bucket=stack.bucket)["Policy"])["Statement"]
    assert [one["Sid"] for one in found] == ["Theirs", "TlsOnly"]
    assert s3.get_bucket_versioning(Bucket=stack.bucket)["Status"] == "Enabled"
    after = s3.get_bucket_tagging(Bucket=stack.bucket)["TagSet"]
    assert sorted(one["Key"] for one in after) == ["ManagedBy", "Project", "Theirs"]
    assert {"Key": "Project", "Value": stack.project} in after
    assert {"Key": "Project", "Value": stack.project} in tags


def test_a_bucket_in_another_region_is_not_ours(stack: Stack) -> None:
    stack.own["state_bucket"] = bucket = f"{stack.project}-elsewhere"
    where = {"LocationConstraint": "us-west-2"}
    stack.aws.client("s3", "us-west-2").create_bucket(
        Bucket=bucket, CreateBucketConfiguration=where
    )
    done = stack.run("bootstrap", code=2)
    assert f"the bucket {bucket} is in us-west-2, not in eu-central-1" in done.stderr


def test_without_a_bucket_the_first_command_is_named(stack: Stack) -> None:
    stack.own["state_bucket"] = f"{stack.project}-nowhere"
    done = stack.run("plan", code=2)
    assert "hint: make it, once: inv infra.bootstrap --stack dev" in done.stderr


# -- plan and apply -------------------------------------------------------------------------------


def test_a_plan_is_shown_saved_applied_and_removed(stack: Stack) -> None:
    planned = stack.run("plan")
    assert planned.stdout.splitlines() == [
        "stack dev (account 123456789012, eu-central-1): 2 to add, 3 outputs",
        "  + terraform_data.note",
        "  + terraform_data.token",
        "  outputs: note, numbers, token",
    ]
    # What Terraform says is passed on as it comes.
    assert "  Terraform will perform the following actions:" in planned.stderr
    assert planned.stderr.rstrip().endswith("next, within 24 hours: inv infra.apply --stack dev")
    assert stack.plan.stat().st_mode & 0o777 == 0o600
    assert stack.plan.parent.stat().st_mode & 0o777 == 0o700
    assert git(stack.checkout, "status", "--porcelain") == ""
    record = json.loads(stack.plan.with_suffix(".json").read_text())
    assert record["stack"] == "dev"
    assert record["commit"] == git(stack.checkout, "rev-parse", "HEAD")
    assert datetime.now(UTC) - datetime.fromisoformat(record["created_at"]) < timedelta(hours=1)

    dry = stack.run("apply", "--dry-run")
    assert "  create  terraform_data.note" in dry.stdout
    assert stack.plan.exists()

    applied = stack.run("apply")
    assert "2 added, 0 changed, 0 destroyed" in applied.stderr
    assert "inv infra.output --stack dev" in applied.stderr
    assert list(stack.plan.parent.iterdir()) == [stack.plan.parent / ".gitignore"]

    again = stack.run("plan")
    assert again.stdout.splitlines() == [
        "stack dev (account 123456789012, eu-central-1): no changes"
    ]
    assert "there is nothing to apply" in again.stderr
    assert not stack.plan.exists()
    assert not stack.locked


def test_outputs(stack: Stack) -> None:
    empty = stack.run("output", code=2)
    assert "nothing has been applied yet" in empty.stderr
    stack.apply()
    table = stack.run("output")
    assert table.stdout.splitlines() == [
        "output   value",
        "note     first",
        "numbers  [1, 2]",
        "token    (sensitive)",
    ]
    data = stack.run("output", "--format", "json")
    assert json.loads(data.stdout) == {
        "note": "first",
        "numbers": [1, 2],
        "token": "(sensitive)",
    }
    assert stack.run("output", "--name", "note").stdout == "first\n"
    wrong = stack.run("output", "--name", "noet", code=2)
    assert "did you mean 'note'?" in wrong.stderr


def test_only_the_saved_plan_is_applied(stack: Stack) -> None:
    stack.run("plan")
    stack.variables["note"] = "second"  # after the plan
    done = stack.run("apply", code=3)
    assert "Terraform's files or variables have changed" in done.stderr
    del stack.variables["note"]
    stack.run("apply")
    assert stack.run("output", "--name", "note").stdout == "first\n"


def test_what_may_not_be_applied(stack: Stack) -> None:
    none = stack.run("apply", code=2)
    assert "hint: make one: inv infra.plan --stack dev" in none.stderr

    stack.run("plan")
    kept = {path: path.read_bytes() for path in (stack.plan, stack.plan.with_suffix(".json"))}
    record = json.loads(kept[stack.plan.with_suffix(".json")])

    def refused(reason: str, **changed: str) -> None:
        stack.plan.with_suffix(".json").write_text(json.dumps(record | changed))
        done = stack.run("apply", code=3)
        assert reason in done.stderr
        assert "hint: make a new one: inv infra.plan --stack dev" in done.stderr

    old = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    refused("it was made 25 hours ago", created_at=old)
    refused("it is a plan of account 210987654321", account="210987654321")
    refused("the plan file is not the one that was saved", plan="0" * 64)
    (stack.plan.with_suffix(".json")).write_text("{")
    assert "record cannot be read" in stack.run("apply", code=2).stderr

    # Another stack's.
    stack.name = "prod"
    for path, content in kept.items():
        path.with_stem("prod").write_bytes(content)
    assert "it is a plan of stack dev, and this is stack prod" in stack.run("apply", code=3).stderr
    stack.name = "dev"

    # Its files have changed.
    for path, content in kept.items():
        path.write_bytes(content)
    more = stack.checkout / "terraform" / "more.tf"
    more.write_text('resource "terraform_data" "more" {}\n')
    refused("Terraform's files or variables have changed")
    more.unlink()

    # It was applied already: the state has changed.
    stack.plan.with_suffix(".json").write_bytes(kept[stack.plan.with_suffix(".json")])
    stack.run("apply")
    for path, content in kept.items():
        path.write_bytes(content)
    stale = stack.run("apply", code=3)
    assert "the plan of stack dev is stale" in stale.stderr
    assert not stack.plan.exists()


def test_a_failed_apply_says_what_and_goes_on_from_there(stack: Stack) -> None:
    broken = PLAIN + (
        'resource "terraform_data" "broken" {\n'
        '  provisioner "local-exec" { command = "echo the reason >&2; exit 7" }\n}\n'
    )
    stack.write(broken)
    stack.run("plan")
    done = stack.run("apply", code=1)
    assert "error: terraform apply failed" in done.stderr
    assert "  command: terraform apply -input=false -no-color " in done.stderr
    assert "exit status 7" in done.stderr
    assert "mend the cause, then inv infra.plan --stack dev" in done.stderr
    assert not stack.plan.exists()
    stack.write(PLAIN)
    assert "1 to destroy" in stack.run("plan").stdout
    stack.run("apply")


def test_a_failed_plan_leaves_none(stack: Stack) -> None:
    stack.run("plan")
    stack.variables["seconds"] = "no number"
    done = stack.run("plan", code=1)
    assert "error: terraform plan failed" in done.stderr
    assert "a number is required" in done.stderr
    assert list(stack.plan.parent.glob("*.tfplan")) == []


def test_terraforms_own_settings_do_not_bend_a_command(stack: Stack) -> None:
    stack.env |= {"TF_CLI_ARGS_plan": "-destroy", "TF_CLI_ARGS": "-help", "TF_WORKSPACE": "other"}
    assert "2 to add" in stack.run("plan").stdout


def test_a_dry_plan_is_not_saved(stack: Stack) -> None:
    argv = ("--dry", "infra.plan", "--stack", "dev")
    done = stack.inv(stack.checkout, *argv, settings=stack.settings(), env=stack.environ())
    assert done.returncode == 0, done.stderr
    assert "2 to add" in done.stdout
    assert "the plan was not saved" in done.stderr
    assert list(stack.plan.parent.glob("*.tfplan")) == []


def test_terraform_uses_the_stacks_profile_as_boto3_does(stack: Stack, tmp_path: Path) -> None:
    """AWS's library for Go would take keys in variables instead; they may be another account's."""
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[mine]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = of-the-profile\n"
    )
    stack.env["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
    stack.own["profile"] = "mine"
    seen = tmp_path / "seen"
    stack.write(
        PLAIN
        + 'resource "terraform_data" "environment" {\n  provisioner "local-exec" {\n'
        + f"    command = \"echo $AWS_PROFILE:$AWS_ACCESS_KEY_ID > '{seen}'\"\n  }}\n}}\n"
    )
    stack.apply()
    assert seen.read_text() == "mine:\n"


# -- bad input ------------------------------------------------------------------------------------


def test_bad_input(stack: Stack) -> None:
    settings = stack.settings()

    def refused(*args: str, message: str, **changed: Any) -> None:
        done = stack.inv(stack.checkout, *args, settings=settings | changed, env=stack.environ())
        assert done.returncode == 2, done.stderr
        assert message in done.stderr

    refused("infra.plan", "--stack", "dve", message="did you mean 'dev'?")
    two = {**settings["stacks"], "prod": {"region": REGION}}
    refused("infra.plan", message="which stack?", stacks=two)
    lost = {"dev": {"region": REGION, "variables": ["terraform/environments/none.tfvars"]}}
    refused(
        "infra.plan",
        "--stack",
        "dev",
        message="the variables file of stack dev is not there",
        stacks=lost,
    )
    refused("infra.plan", "--format", "xml", message="must be text or json")
    refused(
        "infra.destroy",
        "--stack",
        "dev",
        "--name",
        "prod",
        message="--name 'prod' is not the stack's name, dev",
    )


def test_without_credentials_nothing_begins(stack: Stack) -> None:
    stack.env |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = stack.run("plan", code=1)
    assert "there are no usable AWS credentials" in done.stderr
    assert not stack.plan.parent.exists()


def test_without_terraform_it_says_where_to_get_it(stack: Stack, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    stack.env["PATH"] = str(programs)
    done = stack.run("plan", code=1)
    assert "error: terraform is not on PATH" in done.stderr
    assert "https://developer.hashicorp.com/terraform/install" in done.stderr


# -- locks and signals ----------------------------------------------------------------------------


def applying(stack: Stack) -> Running:
    """Start an apply that is in the middle of something long."""
    stack.variables["seconds"] = 600
    stack.run("plan")
    running = stack.start("apply")
    running.expect("terraform_data.slow[0]: Provisioning")
    return running


def test_a_held_lock_and_a_ctrl_c(stack: Stack) -> None:
    running = applying(stack)
    held = stack.run("plan", code=4)
    assert "the state of stack dev is locked: " in held.stderr
    assert " holds it for apply since " in held.stderr
    assert "wait for that run to end; if it was killed: inv infra.unlock" in held.stderr

    running.process.send_signal(signal.SIGINT)
    assert running.finish() == 128 + signal.SIGINT
    assert running.text.count("told Terraform to end") == 1
    assert "Interrupt received" in running.text
    # Twice, and it would have gone without saving anything.
    assert "Two interrupts received" not in running.text
    assert "error: stopped: what was done so far is in the state, and nothing is locked" in (
        running.text
    )
    assert "hint: go on with inv infra.plan --stack dev" in running.text
    assert not stack.locked
    assert not stack.plan.exists()
    stack.apply(seconds=0)


def test_ctrl_c_at_a_terminal_reaches_terraform_once(stack: Stack) -> None:
    stack.variables["seconds"] = 600
    stack.run("plan")
    argv = stack.inv.argv("infra.apply", "--stack", "dev", settings=stack.settings())
    env = stack.inv.environ(stack.environ())
    screen = Terminal(argv, cwd=stack.checkout, env=env)
    screen.expect("terraform_data.slow[0]")
    screen.type("\x03")
    assert screen.finish() == 128 + signal.SIGINT
    assert "Two interrupts received" not in screen.text
    assert "nothing is locked" in screen.text.replace("\r\n", " ")
    assert not stack.locked


def test_sigterm_ends_terraform_in_order_as_well(stack: Stack) -> None:
    running = applying(stack)
    running.process.send_signal(signal.SIGTERM)
    assert running.finish() == 128 + signal.SIGTERM
    assert not stack.locked


def test_terraform_ends_in_order_when_inv_is_killed(stack: Stack) -> None:
    """An out-of-memory kill takes one process, not the group: Terraform must not be left alone."""
    running = applying(stack)
    below = running.descendants()
    running.process.kill()
    running.process.wait(timeout=30)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    assert not stack.locked
    # What it had made is in the state.
    assert "terraform_data.note" not in stack.run("plan").stdout


def test_after_a_kill_of_everything_the_lock_is_named_and_removed(stack: Stack) -> None:
    running = applying(stack)
    running.kill_all()
    assert stack.locked

    told = stack.run("plan", code=4)
    advised = command_of(told.stderr)
    assert advised[:2] == ["unlock", "--id"]

    asked = stack.run("unlock", code=2)
    assert command_of(asked.stderr) == advised
    assert "hint: once you are sure that this run is gone" in asked.stderr
    wrong = stack.run("unlock", "--id", "00000000-0000-0000-0000-000000000000", code=2)
    assert "is not locked by 00000000" in wrong.stderr
    dry = stack.run(*advised, "--dry-run")
    assert f"remove  lock {advised[2]}" in dry.stdout
    assert stack.locked

    done = stack.run(*advised)
    assert "next: inv infra.plan --stack dev" in done.stderr
    assert not stack.locked
    assert "is not locked" in stack.run(*advised).stderr
    stack.apply(seconds=0)


def test_a_locked_apply_keeps_its_plan(stack: Stack) -> None:
    running = applying(stack)
    saved = stack.plan.read_bytes()
    running.kill_all()
    assert stack.plan.read_bytes() == saved
    stack.run("apply", code=4)
    assert stack.plan.exists()


SLOW = """#!/bin/sh
# A Terraform that takes its time to end: longer than other programs are given.
case "$1" in apply) ;; *) exec "$REAL_TERRAFORM" "$@" ;; esac
trap 'echo "Interrupt received."; sleep 17; echo "saved everything"; exit 1' INT
echo "begun"
while :; do sleep 0.1; done
"""


def test_terraform_is_waited_for_however_long_it_takes(stack: Stack, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "terraform").write_text(SLOW)
    (programs / "terraform").chmod(0o755)
    stack.env |= {
        "REAL_TERRAFORM": str(shutil.which("terraform")),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    stack.run("plan")
    running = stack.start("apply")
    running.expect("begun")
    running.process.send_signal(signal.SIGINT)
    running.expect("Interrupt received.")
    running.process.send_signal(signal.SIGINT)
    running.expect("still waiting for Terraform; once more ends it at once")
    assert running.finish() == 128 + signal.SIGINT
    assert "saved everything" in running.text


def test_a_state_that_could_not_be_stored_is_not_lost(stack: Stack) -> None:
    """As when credentials run out in the middle of a long apply."""
    s3 = stack.aws.client("s3")
    stack.variables["seconds"] = 3
    stack.run("plan")
    running = stack.start("apply")
    running.expect("terraform_data.slow[0]: Provisioning")
    arn = f"arn:aws:s3:::{stack.bucket}"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    s3.put_bucket_policy(Bucket=stack.bucket, Policy=policy)
    assert running.finish() == 1
    left = stack.checkout / "terraform" / "errored.dev.tfstate"
    assert left.exists()
    assert f"the state could not be stored and lies in {left}" in running.text

    s3.delete_bucket_policy(Bucket=stack.bucket)
    again = stack.run("plan", code=3)
    assert f"the state could not be stored and lies in {left}" in again.stderr
    push = re.search(r"TF_DATA_DIR=\S+ terraform -chdir=\S+ state push \S+", again.stderr)
    assert push
    if stack.locked:
        advised = stack.run("unlock", code=2)
        stack.run(*command_of(advised.stderr))
    subprocess.run(
        ["sh", "-c", push[0]],
        cwd=stack.checkout,
        env=stack.inv.environ(stack.environ()),
        check=True,
        capture_output=True,
    )
    left.unlink()
    assert "no changes" in stack.run("plan").stdout


# -- the end --------------------------------------------------------------------------------------


def test_destroy_needs_the_stacks_name(stack: Stack) -> None:
    stack.apply()
    dry = stack.run("destroy", "--dry-run")
    assert "destroy  terraform_data.note" in dry.stdout
    refused = stack.run("destroy", code=3)
    assert "- terraform_data.note" in refused.stdout
    assert "hint: if that is meant: inv infra.destroy --stack dev --name dev" in refused.stderr
    assert list(stack.plan.parent.glob("*.tfplan")) == []
    assert stack.run("output", "--name", "note").stdout == "first\n"

    done = stack.run("destroy", "--name", "dev")
    assert "stack dev (account 123456789012, eu-central-1) is gone" in done.stderr
    assert "its states stay in bucket" in done.stderr
    assert list(stack.plan.parent.glob("*.tfplan")) == []
    assert "nothing to destroy" in stack.run("destroy", "--name", "dev").stderr


def test_the_name_may_be_typed(stack: Stack) -> None:
    stack.apply()
    env = stack.inv.environ(stack.environ())
    argv = stack.inv.argv("infra.destroy", "--stack", "dev", settings=stack.settings())
    for typed, code in (("yes", 3), ("dev", 0)):
        screen = Terminal(argv, cwd=stack.checkout, env=env)
        screen.expect("Type dev to go on: ")
        assert "- terraform_data.note" in screen.text
        screen.type(f"{typed}\n")
        assert screen.finish() == code, screen.text


@pytest.mark.parametrize("where", ["invoke.yaml", "its Terraform variables"])
def test_a_protected_stack_is_not_destroyed(stack: Stack, where: str) -> None:
    stack.apply(protected=where != "invoke.yaml")
    stack.own["protected"] = where == "invoke.yaml"
    done = stack.run("destroy", "--name", "dev", code=3)
    assert f"stack dev is protected by {where}" in done.stderr
    stack.own["protected"] = False
    assert stack.run("output", "--name", "note").stdout == "first\n"


# -- secrets --------------------------------------------------------------------------------------


def test_no_secret_is_shown_or_handed_over_by_a_command_line(stack: Stack) -> None:
    token = "-".join(("s3cr3t", "t0ken", "of", "the", "stack"))  # stands in no file
    access = stack.environ()["AWS_SECRET_ACCESS_KEY"]
    stack.env["TF_VAR_token"] = token
    stack.variables["seconds"] = 3
    said = [stack.run("plan", "--diff")]
    assert token.encode() not in stack.plan.with_suffix(".json").read_bytes()
    running = stack.start("apply")
    lines: set[str] = set()
    while running.process.poll() is None:
        for pid in running.descendants():
            try:
                lines.add(Path(f"/proc/{pid}/cmdline").read_text())
            except OSError:
                continue  # it has just ended
    assert running.finish() == 0, running.text
    assert any("terraform\0apply" in line for line in lines), lines
    said += [stack.run("output"), stack.run("output", "--format", "json")]
    said += [stack.run("output", "--name", "token"), stack.run("drift")]
    said += [stack.run("destroy", "--dry-run"), stack.run("destroy", "--name", "dev")]
    shown = "".join([running.text, *lines, *(one.stdout + one.stderr for one in said)])
    for name in git(stack.checkout, "ls-files", "--others").splitlines():
        shown += (stack.checkout / name).read_text(errors="replace")
    assert "(sensitive" in shown
    assert token not in shown
    assert access not in shown
