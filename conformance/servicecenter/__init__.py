"""What ServiceCenter v2.2.0 promises on the wire: cases 1-142, 149-152 and 154-164, one module for each group of cases.

Start reading in `asking.py`, then `test_services.py`. Governance views (143-148) and quota (153) are not asked here.
"""
