"""The suite's tasks: everything `inv` offers, named one by one."""

from invoke import Collection

from tasks.machine import doctor
from tasks.names import names

namespace = Collection(doctor, names)
