"""What deploys us (compose, Kubernetes, systemd, Prometheus, Grafana), held against a server of ours that runs.

Tools check the form of these files (`make check-deploy`); here is asked whether what they say of us is so.
"""
