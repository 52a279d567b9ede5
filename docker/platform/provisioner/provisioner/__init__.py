"""Furnishes a cluster's environments, and makes and drops their databases.

No other program holds the rights for that: neither CI jobs nor the images of branches come near an
administrator of the database server (docs/security.md, "Databases").
"""
