"""registry-facade: one registry that is a Eureka server and a ServiceCenter at once.

Start reading at `server.py`, the running server; `parts.py` makes what it consists of, `application.py` joins the
fronts.
"""

__version__ = "0.1.0"
