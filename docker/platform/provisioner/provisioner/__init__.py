"""Creates and drops the databases of a cluster's environments; runs in the platform namespace.

No other program holds the rights for that: neither CI jobs nor the images of branches come near an
administrator of the database server (docs/security.md, "Databases").
"""
