"""Summarises Terraform plans from `terraform show -json`, and decides whether one may be applied.

The format is https://developer.hashicorp.com/terraform/internals/json-format. It contains sensitive
values; only addresses and names of attributes get into a summary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from tasks.core.errors import InputError
from tasks.core.plan import Step

STATEFUL = {
    "aws_backup_vault": "backups",
    "aws_db_instance": "databases",
    "aws_ecr_repository": "images",
    "aws_efs_file_system": "files",
    "aws_eks_cluster": "every environment in the cluster",
    "aws_kms_key": "whatever was encrypted with it",
    "aws_rds_cluster": "databases",
    "aws_route53_zone": "DNS records, and the delegation to its name servers",
    "aws_s3_bucket": "objects",
    "aws_secretsmanager_secret": "a secret",
}
"""What is lost with a resource of this type: another apply does not restore it."""

MAX_AGE = timedelta(hours=24)
"""How old a saved plan may be. Terraform itself refuses one only if its state has changed since."""

SECRET_LENGTH_MIN = 8
"""Shorter sensitive values are not masked: they are words like `admin`, part of many names."""

_UNREADABLE = "the saved plan's record cannot be read"
_ACTIONS = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "destroy",
    ("forget",): "forget",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}
_MARKS = {"create": "+", "update": "~", "replace": "±", "destroy": "-", "forget": ".", "move": ">"}
_WORDS = {
    "create": "to add",
    "update": "to change",
    "replace": "to replace",
    "destroy": "to destroy",
    "forget": "to forget",
    "move": "to move",
}


@dataclass(frozen=True)
class ResourceChange:
    """The change of one resource.

    Attributes:
        action: create, update, replace, destroy, forget (keep, but no longer manage) or move.
        attributes: names of the attributes that change, or that force a replacement.
        note: the reason or the former address, in a few words.
    """

    address: str
    type: str
    action: str
    attributes: tuple[str, ...] = ()
    note: str = ""

    @property
    def loses(self) -> str:
        """The data that is lost by this, or an empty string."""
        return STATEFUL.get(self.type, "") if self.action in {"replace", "destroy"} else ""

    def line(self) -> str:
        """Return the change as one line of text."""
        told = [self.note] if self.note else []
        if self.attributes:
            names = ", ".join(self.attributes)
            told.insert(0, f"because of {names}" if self.action == "replace" else names)
        if self.loses:
            told.append(f"LOSES {self.loses}")
        line = f"{_MARKS[self.action]} {self.address}"
        return f"{line}  ({'; '.join(told)})" if told else line


@dataclass(frozen=True)
class PlanSummary:
    """The summary of a plan.

    Attributes:
        subject: e.g. ``stack dev (account 123456789012, eu-central-1)``.
        changes: the changes, in Terraform's order.
        outputs: names of the outputs that change.
        drift: changes made outside of Terraform that this plan would undo.
        protected: whether the stack's variables protect it.
    """

    subject: str
    changes: tuple[ResourceChange, ...]
    outputs: tuple[str, ...] = ()
    drift: tuple[ResourceChange, ...] = ()
    protected: bool = False

    @property
    def losses(self) -> tuple[ResourceChange, ...]:
        """The changes that lose data."""
        return tuple(change for change in self.changes if change.loses)

    @property
    def counts(self) -> dict[str, int]:
        """The number of resources per action."""
        return {
            action: sum(change.action == action for change in self.changes) for action in _WORDS
        }

    @property
    def headline(self) -> str:
        """The counts as text."""
        some = [f"{count} {_WORDS[action]}" for action, count in self.counts.items() if count]
        if self.outputs:
            some.append(f"{len(self.outputs)} outputs")
        return ", ".join(some) or "no changes"

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"{self.subject}: {self.headline}" if self.changes or self.outputs else self.subject

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per resource."""
        return tuple(
            Step(
                change.action,
                change.address,
                "; ".join(filter(None, (", ".join(change.attributes), change.note, change.loses))),
            )
            for change in self.changes
        )

    @property
    def drift_rows(self) -> list[tuple[str, str, str]]:
        """The drifted resources as rows: gone or changed, address, attributes."""
        return [
            (
                "gone" if change.action == "destroy" else "changed",
                change.address,
                ", ".join(change.attributes),
            )
            for change in self.drift
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "subject": self.subject,
            "counts": self.counts,
            "changes": [_plain(change) for change in self.changes],
            "outputs": list(self.outputs),
            "drift": [_plain(change) for change in self.drift],
        }

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yield the summary's lines, and whether each is about a loss: those come last, in red."""
        yield f"{self.subject}: {self.headline}", False
        for change in self.changes:
            if not change.loses:
                yield f"  {change.line()}", False
        if self.outputs:
            yield f"  outputs: {', '.join(self.outputs)}", False
        for change in self.losses:
            yield f"  {change.line()}", True


def summarise(document: Mapping[str, Any], subject: str) -> PlanSummary:
    """Return the summary of a plan.

    Args:
        document: the output of `terraform show -json`.
        subject: the subject of the summary.
    """
    changes = tuple(_changes(document.get("resource_changes", ())))
    acted_on = {change.address: change for change in changes if change.action != "move"}
    protected = document.get("variables", {}).get("protected", {}).get("value")
    return PlanSummary(
        subject,
        changes,
        outputs=tuple(
            sorted(
                name
                for name, change in document.get("output_changes", {}).items()
                if change["actions"] != ["no-op"]
            )
        ),
        drift=tuple(_undone(_changes(document.get("resource_drift", ())), acted_on)),
        protected=protected is True,
    )


def _changes(resources: Sequence[Mapping[str, Any]]) -> Iterator[ResourceChange]:
    for one in resources:
        if one.get("mode") == "data":
            continue
        change = one["change"]
        actions = tuple(change["actions"])
        action = _ACTIONS.get(actions, "")
        note = ""
        if one.get("previous_address"):
            note = f"was {one['previous_address']}"
            action = action or "move"
        if change.get("importing"):
            note = "imported"
            action = action or "move"
        if one.get("deposed"):
            note = f"what an earlier replacement has left, {one['deposed']}"
        if action:
            yield ResourceChange(
                one["address"], one["type"], action, _attributes(action, change), note
            )


def _undone(
    drifted: Iterator[ResourceChange], planned: Mapping[str, ResourceChange]
) -> Iterator[ResourceChange]:
    """Yield the drift that Terraform would undo, with the attributes it would reset.

    Values that AWS and the provider fill in also differ from the state until the next apply; they
    are no drift, even if the configuration of the same resource has changed.
    """
    for change in drifted:
        if change.address not in planned:
            continue
        both = set(change.attributes) & set(planned[change.address].attributes)
        if both or change.action != "update":
            yield replace(change, attributes=tuple(sorted(both)))


def _attributes(action: str, change: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the attributes that change, or that force a replacement."""
    if action == "replace":
        return tuple(sorted({str(path[0]) for path in change.get("replace_paths", ()) if path}))
    if action != "update":
        return ()
    before, after = change["before"] or {}, change["after"] or {}
    unknown = change.get("after_unknown") or {}
    return tuple(
        sorted(
            name
            for name in {*before, *after, *unknown}
            if (name in unknown and unknown[name] is True) or before.get(name) != after.get(name)
        )
    )


def _plain(change: ResourceChange) -> dict[str, Any]:
    return {**asdict(change), "attributes": list(change.attributes), "loses": change.loses}


# -- secrets --------------------------------------------------------------------------------------


def secrets_in(document: Any) -> set[str]:
    """Return the sensitive strings in a plan or in outputs, to be masked in all output.

    Args:
        document: the output of `terraform show -json` or `terraform output -json`.
    """
    found: set[str] = set()
    _collect(document, found)
    return {text for text in found if len(text) >= SECRET_LENGTH_MIN}


def _collect(node: Any, found: set[str]) -> None:
    if isinstance(node, list):
        for item in node:
            _collect(item, found)
    if not isinstance(node, dict):
        return
    # The provider marks every SSM parameter's value as sensitive. A plain one has no secret, but
    # words that occur everywhere, such as the region.
    if node.get("type") == "aws_ssm_parameter" and _is_plain_parameter(node):
        return
    for value, mask in (
        ("values", "sensitive_values"),
        ("before", "before_sensitive"),
        ("after", "after_sensitive"),
        ("value", "sensitive"),
    ):
        if mask in node:
            _marked(node.get(value), node[mask], found)
    for inner in node.values():
        _collect(inner, found)


def _is_plain_parameter(resource: Mapping[str, Any]) -> bool:
    change = resource.get("change", {})
    known = (resource.get("values"), change.get("before"), change.get("after"))
    return all(values.get("type") == "String" for values in known if values)


def _marked(value: Any, mask: Any, found: set[str]) -> None:
    """Collect the strings in a value that its mask marks as sensitive."""
    if mask is True:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, (dict, list)):
            for inner in value.values() if isinstance(value, dict) else value:
                _marked(inner, True, found)
    elif isinstance(mask, dict) and isinstance(value, dict):
        for name, inner in mask.items():
            _marked(value.get(name), inner, found)
    elif isinstance(mask, list) and isinstance(value, list):
        for item, inner in zip(value, mask, strict=False):
            _marked(item, inner, found)


# -- the record beside a saved plan ---------------------------------------------------------------


@dataclass(frozen=True)
class PlanRecord:
    """The record of a saved plan, in a file beside it; it has no secrets.

    Attributes:
        account: the AWS account's number.
        state: bucket and key of the state.
        commit: the commit that was checked out.
        created_at: when the plan was made, ISO 8601 with a time zone.
        source: SHA-256 over the Terraform files and variables files it was made from.
        plan: SHA-256 of the plan file.
    """

    stack: str
    account: str
    region: str
    state: str
    commit: str
    created_at: str
    source: str
    plan: str

    def as_dict(self) -> dict[str, str]:
        """Return the record as JSON-ready data."""
        return asdict(self)


def read_record(data: Any) -> PlanRecord:
    """Parse a saved record.

    Raises:
        InputError: it is invalid.
    """
    names = [field.name for field in fields(PlanRecord)]
    try:
        record = PlanRecord(**{name: str(data[name]) for name in names})
        when = datetime.fromisoformat(record.created_at)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(_UNREADABLE, hint="make a new plan") from error
    if when.tzinfo is None:
        raise InputError(_UNREADABLE, hint="make a new plan")
    return record


def refusal(record: PlanRecord, found: PlanRecord, now: datetime) -> str:
    """Return why a saved plan must not be applied, or an empty text.

    Args:
        record: the saved record.
        found: the record if the same plan file were saved now.
        now: the present time, with a time zone.
    """
    for name in ("stack", "account", "region", "state"):
        theirs, ours = getattr(record, name), getattr(found, name)
        if theirs != ours:
            return f"it is a plan of {name} {theirs}, and this is {name} {ours}"
    if record.plan != found.plan:
        return "the plan file is not the one that was saved"
    if record.source != found.source:
        return (
            f"Terraform's files or variables have changed since it was made of {record.commit[:8]}"
        )
    age = now - datetime.fromisoformat(record.created_at)
    if age > MAX_AGE:
        return f"it was made {age.total_seconds() / 3600:.0f} hours ago"
    return ""
