"""Which of a person's environment variables the programs of a run are given."""

from __future__ import annotations

import pytest

from tasks.core.errors import InputError
from tasks.core.variables import (
    bake_variables,
    compose_variables,
    given_variables,
    inherited_variables,
    python_variables,
)

KEPT = (
    *("PATH", "HOME", "LANG", "SSH_AUTH_SOCK", "AWS_PROFILE", "KUBECONFIG", "PYTHONPATH"),
    *("http_proxy", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "XDG_CONFIG_HOME"),
    *("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL"),
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GIT_AUTHOR_NAME"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
)
DROPPED = (
    # `git rev-parse --local-env-vars`, but for settings given with `git -c`.
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_DIR"),
    *("GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE"),
    *("GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_SHALLOW_FILE"),
    *("GIT_COMMON_DIR", "GIT_INTERNAL_SUPER_PREFIX"),
    *("GIT_NAMESPACE", "GIT_EXTERNAL_DIFF", "GIT_LITERAL_PATHSPECS", "GIT_DEFAULT_REF_FORMAT"),
    *("DOCKER_DEFAULT_PLATFORM", "DOCKER_CONTENT_TRUST", "DOCKER_BUILDKIT"),
    *("COMPOSE_FILE", "COMPOSE_PROFILES", "BUILDX_BUILDER", "BUILDKIT_HOST", "SOURCE_DATE_EPOCH"),
)


@pytest.mark.parametrize("name", [*KEPT, *DROPPED])
def test_what_says_where_things_are_is_kept_and_what_changes_what_is_done_is_not(
    name: str,
) -> None:
    assert inherited_variables({name: "x"}) == ({name: "x"} if name in KEPT else {})


def test_python_s_own_variables() -> None:
    assert python_variables(["PYTHONPATH", "PYTHON_GIL", "PYTHON", "PATH", "MY_PYTHONPATH"]) == {
        "PYTHONPATH": None,
        "PYTHON_GIL": None,
    }


def test_what_a_compose_file_is_filled_with() -> None:
    text = "a: ${A}\nb: ${B_1:-x${C}}\nc: ${D:?why}\ne: $E/$${not} $$no\n"
    assert list(compose_variables(text)) == ["A", "B_1", "C", "D", "E"]


def test_what_the_variables_of_a_bake_file_are() -> None:
    text = 'variable "A" {\n}\nvariable "B" { default = "variable" }\ntarget "C" {}\n'
    assert list(bake_variables(text)) == ["A", "B"]


def test_a_build_is_given_what_is_set_and_an_image_by_a_reference() -> None:
    environ = {"PIP_CERT": "/ca.pem", "PIP_INDEX_URL": "", "DEBIAN_IMAGE": "debian:x", "HOME": "/"}
    given = given_variables(environ, "PIP_CERT", "PIP_INDEX_URL", "DEBIAN_IMAGE", "MAUTIC_IMAGE")
    assert given == {"PIP_CERT": "/ca.pem", "DEBIAN_IMAGE": "debian:x"}
    with pytest.raises(InputError, match="the variable DEBIAN_IMAGE: 'a b' is not an image"):
        given_variables({"DEBIAN_IMAGE": "a b"}, "DEBIAN_IMAGE")
