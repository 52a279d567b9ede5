"""The suite's tasks: everything `inv` offers, named one by one."""

# Before all else, so that Ctrl-C is answered from here on.
from tasks import early as early  # isort: skip

from invoke import Collection

from tasks.ci import explain, image, local
from tasks.environments import (
    cleanup,
    console,
    deploy,
    list_,
    logs,
    rollback,
    shell,
    status,
    url,
)
from tasks.images import build
from tasks.infra import apply, bootstrap, destroy, drift, output, plan, unlock
from tasks.machine import demo, doctor, test
from tasks.names import names
from tasks.shared import apply as platform_apply
from tasks.shared import status as platform_status
from tasks.sweeping import gc

namespace = Collection(
    demo,
    doctor,
    test,
    names,
    build,
    cleanup,
    console,
    deploy,
    gc,
    list_,
    logs,
    rollback,
    shell,
    status,
    url,
)
namespace.add_collection(Collection("platform", platform_apply, platform_status))
namespace.add_collection(
    Collection("infra", apply, bootstrap, destroy, drift, output, plan, unlock)
)
namespace.add_collection(Collection("ci", explain, image, local))
