"""The exec plugin of the kubeconfig that Helm gets for an EKS cluster: one token, on stdout.

Options: --cluster NAME --region REGION [--profile PROFILE]
"""

from __future__ import annotations

import argparse
import json
import sys

from tasks.adapters.aws.eks import exec_credential, sign_token
from tasks.adapters.aws.session import Aws
from tasks.core.display import visible
from tasks.core.errors import SuiteError


def main() -> int:
    """Print an ExecCredential; on failure print the error to stderr and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--profile")
    options = parser.parse_args()
    try:
        token = sign_token(Aws(options.region, options.profile), options.cluster)
    except SuiteError as error:
        sys.stderr.write("\n".join(map(visible, error.lines())) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(exec_credential(token)) + "\n")
    return 0
