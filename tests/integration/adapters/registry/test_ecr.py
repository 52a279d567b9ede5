"""ECR by its own API: moto, behind a door that answers in its place where a test says so."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.adapters.aws.session import ATTEMPTS, Aws
from tasks.adapters.docker.buildx import BakeOrder, Buildx
from tasks.adapters.process import Runner
from tasks.adapters.registry.docker_login import logged_in
from tasks.adapters.registry.ecr import BATCH, EcrRegistry, region_of
from tasks.adapters.registry.oci import OciRegistry
from tasks.core.errors import AwsError, RegistryError, SettingsError
from tasks.core.redact import Redactor
from tests.integration.build_support import Answer, Request, forget_images, front_door
from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.registry_contract import check_images, check_registry

if TYPE_CHECKING:
    import docker

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
OCI = "application/vnd.oci.image.manifest.v1+json"
JSON = {"Content-Type": "application/x-amz-json-1.1"}


def refuses(code: str, message: str = "", status: int = 400) -> Answer:
    """Return an error as ECR words it."""
    return Answer(status, JSON, json.dumps({"__type": code, "message": message}).encode())


def operation(request: Request) -> str:
    """Return the name of the operation that a request asks for."""
    return {name.lower(): value for name, value in request.headers.items()}.get(
        "x-amz-target", ""
    ).rpartition(".")[2]


@pytest.fixture(autouse=True)
def credentials(aws: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)


class Place:
    """A path of its own in ECR, with two repositories.

    Args:
        aws: where.
    """

    def __init__(self, aws: Moto) -> None:
        self.path = f"t{secrets.token_hex(4)}"
        self.url = f"{HOST}/{self.path}"
        self.api = aws.client("ecr")
        self.redactor = Redactor()
        for name in ("mautic", "nginx"):
            self.api.create_repository(repositoryName=f"{self.path}/{name}")

    def registry(
        self, *, create: bool = False, url: str = "", region: str | None = None
    ) -> EcrRegistry:
        """Return the suite's own client of it."""
        address = url or self.url
        return EcrRegistry(
            address, Aws(region or region_of(address)), create=create, secret=self.redactor.add
        )

    def push(self, content: str, *tags: str, repository: str = "mautic") -> str:
        """Put an image there, as a push would; return its digest."""
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": {}, "of": content})
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        for tag in tags:
            self.api.put_image(
                repositoryName=f"{self.path}/{repository}",
                imageManifest=manifest,
                imageManifestMediaType=OCI,
                imageTag=tag,
                imageDigest=digest,
            )
        return digest

    def held(self, repository: str = "mautic") -> dict[str, str]:
        """Return tags and digests as AWS has them."""
        found = self.api.list_images(repositoryName=f"{self.path}/{repository}")["imageIds"]
        return {one["imageTag"]: one["imageDigest"] for one in found if "imageTag" in one}


@pytest.fixture
def place(aws: Moto) -> Iterator[Place]:
    made = Place(aws)
    yield made
    for name in ("mautic", "nginx", "cache"):
        try:
            made.api.delete_repository(repositoryName=f"{made.path}/{name}", force=True)
        except made.api.exceptions.RepositoryNotFoundException:
            continue


@pytest.fixture
def door(
    aws: Moto, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Request], Answer | None]], list[Request]]]:
    """Puts a door before moto that answers as told; gives the requests it has seen."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def put(fault: Callable[[Request], Answer | None]) -> list[Request]:
            host, seen = stack.enter_context(front_door(aws.host, fault))
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
            return seen

        yield put


# -- looking --------------------------------------------------------------------------------------


def test_it_does_what_the_flows_count_on(place: Place) -> None:
    check_registry(place.registry(), place.push)


def test_images_are_listed_and_removed_by_digest(place: Place) -> None:
    check_images(place.registry(), place.push)


def test_an_image_is_found_by_any_of_its_tags_and_by_its_digest(place: Place) -> None:
    digest = place.push("a", "1", "2")
    other = place.push("b", "3")
    registry = place.registry()
    assert registry.digest("mautic", "1") == digest
    assert registry.digest("mautic", digest) == digest
    assert registry.digest("mautic", "4") is None
    assert registry.digests([("mautic", "3"), ("mautic", "2"), ("nginx", "1")]) == [
        other,
        digest,
        None,
    ]
    assert registry.repository("mautic") == f"{HOST}/{place.path}/mautic"
    assert registry.reference("mautic", digest) == f"{HOST}/{place.path}/mautic@{digest}"


def test_all_tags_of_a_repository(place: Place) -> None:
    first, second = place.push("a", "1", "latest"), place.push("b", "2")
    assert place.registry().tags("mautic") == {"1": first, "latest": first, "2": second}
    assert place.registry().tags("nginx") == {}


def test_more_than_a_thousand_images_come_page_by_page(
    place: Place, door: Callable[..., list[Request]], aws: Moto
) -> None:
    """moto gives all at once: the door cuts its answer into pages, as ECR does."""
    expected = {f"tag-{n:04}": place.push(str(n), f"tag-{n:04}") for n in range(1105)}

    def paged(request: Request) -> Answer | None:
        if operation(request) != "ListImages":
            return None
        asked = json.loads(request.body)
        size, start = asked["maxResults"], int(asked.get("nextToken", "0"))
        every = place.api.list_images(repositoryName=asked["repositoryName"])["imageIds"]
        page: dict[str, Any] = {"imageIds": every[start : start + size]}
        if start + size < len(every):
            page["nextToken"] = str(start + size)
        return Answer(200, JSON, json.dumps(page).encode())

    seen = door(paged)
    assert place.registry().tags("mautic") == expected
    assert [json.loads(one.body)["maxResults"] for one in seen] == [1000, 1000]


# -- re-tagging -----------------------------------------------------------------------------------


def test_an_image_gets_more_tags_without_a_push(place: Place) -> None:
    digest = place.push("a", "content-1")
    place.registry().tag("mautic", digest, ["1a2b3c4d", "latest", "branch.main.1a2b3c4d"])
    assert place.held() == dict.fromkeys(
        ["content-1", "1a2b3c4d", "latest", "branch.main.1a2b3c4d"], digest
    )


def test_a_tag_moves_and_is_set_again_without_complaint(place: Place) -> None:
    place.push("a", "latest")
    second = place.push("b", "content-2")
    registry = place.registry()
    registry.tag("mautic", "content-2", ["latest"])
    registry.tag("mautic", "content-2", ["latest"])  # ImageAlreadyExistsException
    assert registry.digest("mautic", "latest") == second


def test_what_is_not_there_cannot_be_tagged(place: Place) -> None:
    with pytest.raises(RegistryError, match="there is no image nothing in") as caught:
        place.registry().tag("mautic", "nothing", ["1"])
    assert "inv build" in (caught.value.hint or "")


@pytest.mark.parametrize("words", ["ecr", "moto"])
def test_a_tag_of_an_immutable_repository_does_not_move(
    place: Place, door: Callable[..., list[Request]], words: str
) -> None:
    """moto calls this ImageAlreadyExists, which elsewhere means success; ECR has its own word."""
    first = place.push("a", "latest")
    second = place.push("b", "content-2")
    place.api.put_image_tag_mutability(
        repositoryName=f"{place.path}/mautic", imageTagMutability="IMMUTABLE"
    )
    if words == "ecr":
        door(
            lambda request: (
                refuses("ImageTagAlreadyExistsException", "The tag is immutable")
                if operation(request) == "PutImage"
                else None
            )
        )
    with pytest.raises(RegistryError, match=r"mautic:latest is another image's.*immutable"):
        place.registry().tag("mautic", second, ["latest"])
    assert place.held()["latest"] == first
    if words == "moto":
        place.registry().tag("mautic", first, ["latest"])


# -- deleting -------------------------------------------------------------------------------------


def test_more_than_a_hundred_images_are_deleted(
    place: Place, door: Callable[..., list[Request]]
) -> None:
    tags = [f"tag-{n}" for n in range(250)]
    for tag in tags:
        place.push(tag, tag)
    kept = place.push("kept", "kept")
    seen = door(lambda request: None)
    assert place.registry().delete_tags("mautic", tags) == 250
    assert place.held() == {"kept": kept}
    sizes = [len(json.loads(one.body)["imageIds"]) for one in seen]
    assert sizes == [BATCH, BATCH, 50]


def test_a_tag_goes_its_image_stays_under_the_others(place: Place) -> None:
    digest = place.push("a", "1", "2")
    registry = place.registry()
    assert registry.delete_tags("mautic", ["1"]) == 1
    assert place.held() == {"2": digest}
    assert registry.delete_tags("mautic", ["1"]) == 0
    assert registry.delete_tags("mautic", ["1", "2"]) == 1
    assert place.held() == {}


def test_what_cannot_be_deleted_is_told(place: Place, door: Callable[..., list[Request]]) -> None:
    """ECR answers 200 to a deletion that failed, and says so in the answer."""
    place.push("a", "1")
    failure = {
        "imageId": {"imageTag": "1"},
        "failureCode": "ImageReferencedByManifestList",
        "failureReason": "Requested image referenced by manifest list",
    }
    gone = {"imageId": {"imageTag": "0"}, "failureCode": "ImageNotFound", "failureReason": ""}
    answer = json.dumps({"imageIds": [], "failures": [gone, failure]}).encode()
    door(lambda request: Answer(200, JSON, answer))
    with pytest.raises(
        RegistryError, match=r"mautic:1 cannot be deleted: ImageReferencedByManifestList: Requested"
    ):
        place.registry().delete_tags("mautic", ["0", "1"])


# -- repositories ---------------------------------------------------------------------------------


def test_a_missing_repository_is_told(place: Place) -> None:
    for ask in (
        lambda registry: registry.digest("cache", "1"),
        lambda registry: registry.tags("cache"),
        lambda registry: registry.tag("cache", "1", ["2"]),
        lambda registry: registry.missing(["mautic", "cache"]),
    ):
        with pytest.raises(RegistryError, match=f"no repository {place.path}/cache in") as caught:
            ask(place.registry())
        assert "inv infra.apply" in (caught.value.hint or "")
        assert "create" in (caught.value.hint or "")


def test_a_missing_repository_is_made_where_that_is_allowed(place: Place) -> None:
    registry = place.registry(create=True)
    assert registry.digest("cache", "1") is None
    assert registry.tags("cache") == {}
    assert registry.missing(["mautic", "cache", "nginx"]) == ("cache",)
    registry.make(["cache"])
    registry.make(["cache"])  # as when two builds make it at once
    assert registry.missing(["mautic", "cache", "nginx"]) == ()
    (made,) = place.api.describe_repositories(repositoryNames=[f"{place.path}/cache"])[
        "repositories"
    ]
    assert made["imageScanningConfiguration"]["scanOnPush"]
    assert made["imageTagMutability"] == "MUTABLE"


def test_a_wrong_region_is_told(place: Place) -> None:
    elsewhere = place.url.replace(REGION, "eu-west-1")
    with pytest.raises(RegistryError, match="in eu-west-1 of account") as caught:
        place.registry(url=elsewhere).tags("mautic")
    assert "region" in (caught.value.hint or "")


def test_a_wrong_account_is_told(place: Place) -> None:
    other = place.url.replace(ACCOUNT, "999999999999")
    with pytest.raises(RegistryError, match="of account 999999999999") as caught:
        place.registry(url=other).tags("mautic")
    assert f"the credentials are of account {ACCOUNT}" in (caught.value.hint or "")


# -- AWS itself -----------------------------------------------------------------------------------


def attempts(seen: list[Request]) -> list[str]:
    """Return what each request says of which attempt it is."""
    found = []
    for one in seen:
        headers = {name.lower(): value for name, value in one.headers.items()}
        found += re.findall(r"attempt=\d+", headers["amz-sdk-request"])
    return found


def test_throttling_is_tried_again(place: Place, door: Callable[..., list[Request]]) -> None:
    digest = place.push("a", "1")
    answers = [refuses("ThrottlingException", "Rate exceeded")] * 2
    seen = door(lambda request: answers.pop() if answers else None)
    assert place.registry().digest("mautic", "1") == digest
    assert attempts(seen) == ["attempt=1", "attempt=2", "attempt=3"]


def test_throttling_without_end_is_told(
    place: Place, door: Callable[..., list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pauses are botocore's own, random and up to seconds long: only their number matters here.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    seen = door(lambda request: refuses("ThrottlingException", "Rate exceeded"))
    with pytest.raises(AwsError, match=f"AWS still throttles BatchGetImage, tried {ATTEMPTS}"):
        place.registry().digest("mautic", "1")
    assert attempts(seen) == [f"attempt={n}" for n in range(1, ATTEMPTS + 1)]


def test_expired_credentials_are_told(place: Place, door: Callable[..., list[Request]]) -> None:
    message = "The security token included in the request is expired"
    seen = door(lambda request: refuses("ExpiredTokenException", message))
    with pytest.raises(AwsError, match="credentials have expired") as caught:
        place.registry().digest("mautic", "1")
    assert "aws sso login" in (caught.value.hint or "")
    assert len(seen) == 1  # waiting would not help


def test_no_credentials_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AwsError, match="no usable AWS credentials") as caught:
        place.registry().digest("mautic", "1")
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in (caught.value.hint or "")


def test_a_profile_that_does_not_exist_is_bad_settings() -> None:
    with pytest.raises(SettingsError, match="there is no AWS profile 'nobody'"):
        Aws(REGION, "nobody").client("ecr")


def test_an_aws_that_is_away_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(AwsError, match="AWS cannot be reached: Could not connect to the endpoint"):
        place.registry().digest("mautic", "1")


def test_who_may_not_is_told_the_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto's own IAM: a user with a policy that lets him list, and nothing else."""
    with Moto(tmp_path, {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}) as strict:
        iam, ecr = strict.client("iam"), strict.client("ecr")
        ecr.create_repository(repositoryName="mautic-dev/mautic")
        iam.create_user(UserName="reader")
        allowed = {"Effect": "Allow", "Action": "ecr:ListImages", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName="reader", PolicyName="list", PolicyDocument=policy)
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        registry = EcrRegistry(f"{HOST}/mautic-dev", Aws(REGION), secret=str)
        assert registry.tags("mautic") == {}
        with pytest.raises(AwsError, match=r"user/reader may not ecr:BatchGetImage") as caught:
            registry.digest("mautic", "1")
        assert "permission" in (caught.value.hint or "")


def test_credentials_that_aws_does_not_know_are_told(
    place: Place, door: Callable[..., list[Request]]
) -> None:
    message = "The security token included in the request is invalid."
    door(lambda request: refuses("UnrecognizedClientException", message))
    with pytest.raises(AwsError, match=f"does not accept the credentials in {REGION}"):
        place.registry().digest("mautic", "1")


# -- logging in -----------------------------------------------------------------------------------


def token_answer(password: str, lasts: timedelta) -> Answer:
    data = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": (datetime.now(UTC) + lasts).timestamp(),
        "proxyEndpoint": f"https://{HOST}",
    }
    return Answer(200, JSON, json.dumps({"authorizationData": [data]}).encode())


def test_docker_is_logged_in_by_a_private_configuration(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "docker"
    (own / "cli-plugins").mkdir(parents=True)
    (own / "cli-plugins" / "docker-buildx").write_text("plugin")
    before = {"auths": {"r.example.org": {"auth": "eA=="}}, "credsStore": "desktop", "proxies": {}}
    (own / "config.json").write_text(json.dumps(before))
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    with place.registry().login() as variables:
        folder = Path(variables["DOCKER_CONFIG"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
        config = json.loads((folder / "config.json").read_text())
        token = base64.b64decode(config["auths"][HOST]["auth"]).decode()
        assert token == f"AWS:{ACCOUNT}-auth-token"
        # The store keeps all other passwords; this one host's is in the file.
        assert config["credHelpers"] == {HOST: ""}
        assert {key: config[key] for key in ("credsStore", "proxies")} == {
            "credsStore": "desktop",
            "proxies": {},
        }
        assert config["auths"]["r.example.org"] == {"auth": "eA=="}
        assert (folder / "cli-plugins" / "docker-buildx").read_text() == "plugin"
        shown = place.redactor(f"docker login {token} {config['auths'][HOST]['auth']}")
        assert "auth-token" not in shown
        assert config["auths"][HOST]["auth"] not in shown
    assert not folder.exists()
    assert json.loads((own / "config.json").read_text()) == before


def test_a_push_carries_the_token_and_needs_it(
    place: Place,
    registry: str,
    engine: docker.DockerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The registry is a real one of another kind, and its door asks for ECR's user and token."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    (tmp_path / "bake.hcl").write_text('target "default" { context = "." }\n')
    said: list[str] = []
    token = place.registry().token()
    expected = base64.b64encode(f"{token.user}:{token.password}".encode()).decode()

    def guard(request: Request) -> Answer | None:
        if request.headers.get("Authorization") == f"Basic {expected}":
            return None
        return Answer(401, {"WWW-Authenticate": 'Basic realm="ecr"'})

    buildx = Buildx(Runner(place.redactor), tmp_path, "bake.hcl")
    with front_door(registry, guard) as (host, _):
        reference = f"{host}/{place.path}/mautic:1"
        try:
            with pytest.raises(RegistryError, match="refused the push"):
                buildx.bake({"default": BakeOrder(reference)}, variables={}, on_line=said.append)
            # As on a person's machine; the helper must not be asked for this registry.
            own = tmp_path / "docker"
            own.mkdir()
            (own / "config.json").write_text(json.dumps({"credsStore": "not-installed"}))
            monkeypatch.setenv("DOCKER_CONFIG", str(own))
            with logged_in(host, token.user, token.password) as folder:
                baked = buildx.bake(
                    {"default": BakeOrder(reference)},
                    variables={},
                    login={"DOCKER_CONFIG": str(folder)},
                    on_line=said.append,
                )
        finally:
            forget_images(engine, host)
    pushed = OciRegistry(f"{registry}/{place.path}").digest("mautic", "1")
    assert pushed == baked["default"].digest
    assert token.password not in "".join(said)
    assert expected not in "".join(said)


def test_a_docker_configuration_that_is_no_json_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with (
        pytest.raises(SettingsError, match=r"config\.json cannot be read: it is no JSON"),
        logged_in("h", "u", "p"),
    ):
        pass


def test_a_token_is_kept_while_it_lasts_long_enough(
    place: Place, door: Callable[..., list[Request]]
) -> None:
    lasts = [timedelta(hours=12), timedelta(hours=5), timedelta(hours=5, minutes=59)]
    seen = door(lambda request: token_answer(f"secret-{len(lasts)}", lasts.pop()))
    registry = place.registry()
    assert registry.token().password == "secret-3"
    assert registry.token().password == "secret-2"  # the first one would end within six hours
    assert registry.token().password == "secret-1"
    for _ in range(3):
        with registry.login():
            pass
    assert [operation(one) for one in seen] == ["GetAuthorizationToken"] * 3


def test_credentials_that_ecr_refuses_end_a_login(
    place: Place, door: Callable[..., list[Request]]
) -> None:
    message = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/ci/job is not authorized to perform: "
        "ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the "
        "ecr:GetAuthorizationToken action"
    )
    door(lambda request: refuses("AccessDeniedException", message))
    with pytest.raises(AwsError) as caught, place.registry().login():
        pass
    assert caught.value.message == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/job may not ecr:GetAuthorizationToken on *"
    )
