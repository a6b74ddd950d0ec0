"""The Eureka protocol, case by case; the number of a case stands in the test's id.

`client.py` speaks Eureka, `conftest.py` finds or starts the server under test, `differences.py` lists where we mean to
answer otherwise than the original. Cases 172-200 (replication between peers, whole clients) are not asked here, and
neither is 164, which needs Netflix's own Java client.
"""
