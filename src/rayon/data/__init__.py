"""Catalogues: reading, validating, cleaning, splitting and sharding them, and handing them to a trainer."""
