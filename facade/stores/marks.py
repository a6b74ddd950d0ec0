"""The keys by which a registry behind us tells where one of its entries came from. Whoever packs sets them.

They stand in a ServiceCenter's properties and in Eureka's metadata alike; from ordinary clients we take none of them
(`rules.ordinary`). Marks are believed only beside the id that they name, for properties are copied from place to place.
"""

ORIGIN = "_bridge.origin"
"""The protocol by which the original came: eureka, servicecenter; or OURS."""
OURS = "registry-facade"
"""The origin of what serves us alone: helper services and the markers of bridges."""
ID = "_bridge.id"
"""The id that the entry has there; it follows from the original's, so that a copy is known without its marks, too."""
VERSION_KEY = "_bridge.v"
"""The way of packing."""
CLUSTER = "_bridge.cluster"
"""The bridge that has written it."""
TRUNCATED = "_bridge.truncated"
"""Set when something of the original did not fit."""
