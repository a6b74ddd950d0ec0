"""All that knows Eureka's bytes. Start at `routes.py`; a renewal is answered in `EurekaFront.renew`."""
