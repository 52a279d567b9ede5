"""The suite's tasks: everything `inv` offers, named one by one."""

# Before all else, so that Ctrl-C is answered from here on.
from tasks.app import early as early  # isort: skip
from tasks.app import lean as lean  # isort: skip

from invoke import Collection

from tasks.commands.adopt import adopt
from tasks.commands.build import build, image
from tasks.commands.ci import explain, local
from tasks.commands.completion import completion
from tasks.commands.data import copy, dump, load, reset, restore, snapshot, snapshots
from tasks.commands.dev import dev
from tasks.commands.environments import (
    cleanup,
    console,
    deploy,
    list_,
    logs,
    releases,
    rollback,
    shell,
    status,
    url,
)
from tasks.commands.gc import gc
from tasks.commands.infra import apply, bootstrap, destroy, drift, output, plan, unlock
from tasks.commands.machine import demo, doctor, test
from tasks.commands.names import names
from tasks.commands.page import cost, page
from tasks.commands.pins import pin
from tasks.commands.plan import drift as drift_environment
from tasks.commands.plan import plan as plan_environment
from tasks.commands.platform import apply as platform_apply
from tasks.commands.platform import image as platform_image
from tasks.commands.platform import status as platform_status
from tasks.commands.queue import queue
from tasks.commands.rehearse import rehearse
from tasks.commands.scan import scan
from tasks.commands.seeds import seed
from tasks.commands.setup import init, upgrade
from tasks.commands.sleep import pin as pin_environment
from tasks.commands.sleep import sleep, wake

namespace = Collection(
    demo,
    doctor,
    test,
    names,
    adopt,
    build,
    cleanup,
    completion,
    console,
    cost,
    deploy,
    dev,
    drift_environment,
    gc,
    init,
    list_,
    logs,
    page,
    pin_environment,
    plan_environment,
    queue,
    rehearse,
    releases,
    rollback,
    scan,
    shell,
    sleep,
    status,
    upgrade,
    url,
    wake,
)
namespace.add_collection(
    Collection("db", copy, dump, load, reset, restore, seed, snapshot, snapshots)
)
namespace.add_collection(Collection("images", pin))
namespace.add_collection(Collection("platform", platform_apply, platform_image, platform_status))
namespace.add_collection(
    Collection("infra", apply, bootstrap, destroy, drift, output, plan, unlock)
)
namespace.add_collection(Collection("ci", explain, image, local))
