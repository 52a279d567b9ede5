"""What of a PHP file a compiled container may depend on."""

from __future__ import annotations

import pytest

from tasks.core.php_shape import shape

FILE = """<?php
namespace MauticPlugin\\AcmeBundle;

/** What it is for. */
#[AsController]
final class Hello extends Base
{
    // a brace {
    public function __construct(private readonly Mailer $mailer, array $of = ['a' => 1])
    {
        parent::__construct();
    }

    public static function getSubscribedEvents(): array
    {
        return ['kernel.request' => 'go'];
    }

    public function go(int $times): string
    {
        $twice = static fn (int $n): int => 2 * $n;
        $say = function () use ($times) { return "}{$times}"; };
        # another {
        return <<<EOT
            { $times
            EOT;
    }

    /** @Route("/x") */
    abstract public function none(): int;
}
"""

SAME = {
    "a body": ('"}{$times}"', '"{$times} times"'),
    "a constructor's body": ("parent::__construct();", ""),
    "a heredoc": ("{ $times", "} {{"),
    "a comment": ("// a brace {", "// {{{"),
    "a doc comment": ("What it is for.", "What else { it is for."),
    "blanks": ("    public", "\tpublic"),
}
OTHER = {
    "an argument": ("Mailer $mailer", "Sender $mailer"),
    "a default": ("'a' => 1", "'a' => 2"),
    "an event": ("'kernel.request'", "'kernel.response'"),
    "an attribute": ("#[AsController]", "#[AsCommand]"),
    "an annotation": ('@Route("/x")', '@Route("/y")'),
    "a parent": ("extends Base", "extends Other"),
    "a type of result": ("none(): int", "none(): string"),
    "a name": ("function go", "function gone"),
}


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_what_functions_do_is_left_out(old: str, new: str) -> None:
    assert old in FILE
    assert shape(FILE.replace(old, new)) == shape(FILE) is not None


@pytest.mark.parametrize(("old", "new"), OTHER.values(), ids=OTHER)
def test_what_is_compiled_counts(old: str, new: str) -> None:
    assert old in FILE
    assert shape(FILE.replace(old, new)) != shape(FILE)


@pytest.mark.parametrize("broken", [f"{FILE}{{", f"{FILE}}}", FILE[: FILE.index('"}{')]])
def test_of_brackets_that_do_not_match_nothing_is_known(broken: str) -> None:
    assert shape(broken) is None


@pytest.mark.parametrize("method", ["load", "build", "process", "configure"])
def test_what_runs_at_compile_time_counts_as_a_whole(method: str) -> None:
    one = f"<?php class A {{ public function {method}() {{ one(); }} }}"
    assert shape(one) != shape(one.replace("one", "two"))
