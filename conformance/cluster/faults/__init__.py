"""What the cluster promises while its parts fail, asked of three real nodes over a real Redis or Valkey.

`fleet` are the clients under load, `readers` and `watchers` who looks meanwhile, `log` what all of them write down,
`checker` and `linear` who judges that afterwards. `stage` sets it up and `load` runs it; begin at `test_faults_redis`.
"""
