"""The Backend over Eureka, against fronts of our own in process: they are the servers behind us."""
