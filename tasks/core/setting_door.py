"""The settings of a login that a load balancer asks for."""

from __future__ import annotations

from pydantic import Field

from tasks.core import door
from tasks.core.setting_values import PoolClient, PoolDomain, Strict, UserPoolArn


class DoorOidc(Strict):
    """The user pool of Amazon Cognito that asks visitors for their login."""

    user_pool_arn: UserPoolArn = Field(description="Its ARN.")
    client_id: PoolClient = Field(
        description="ID of its client, which has a secret, the grant `authorization_code`, and "
        "the callback URL `https://HOST/oauth2/idpresponse` of every site."
    )
    domain: PoolDomain = Field(
        description="Its domain: the prefix of one at Amazon, or a whole name of its own."
    )

    @property
    def host(self) -> str:
        """The host name of the page at which it asks."""
        return door.pool_host(self.user_pool_arn, self.domain)
