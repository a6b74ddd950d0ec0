"""registry-facade: one registry that is a Eureka server and a ServiceCenter at once.

Start reading at `server.py`, which builds every part and hands each what it needs.
"""

__version__ = "0.1.0"
