#!/bin/sh
# `inv` in a job: the suite of the job's checkout, or the package that the checkout names, or, where
# there is no checkout, that of the image.
# A stop job has none (GIT_STRATEGY none): its branch may be gone, and what lies in its folder then
# is another job's.
set -eu

image=/opt/mautic-multidev
if [ "${GIT_STRATEGY:-}" != none ] && [ -f tasks/__main__.py ]; then
  # A branch that changes the lock needs other packages than the image has.
  cmp -s requirements.lock "$image/requirements.lock" || exec ./inv "$@"
elif [ "${GIT_STRATEGY:-}" != none ] && [ -f .mautic-multidev/requirements.lock ]; then
  # A project that uses the suite as a package: its lock says which.
  exec ./inv "$@"
else
  cd "$image"
fi
PATH=/opt/venv/bin:$PATH
export PATH
# As ./inv starts it: isolated from Python's own variables, and in UTF-8 mode.
exec python -E -s -X utf8 -m tasks "$@"
