"""The suite's tasks: everything `inv` offers, named one by one."""

from invoke import Collection

from tasks.names import names

namespace = Collection(names)
