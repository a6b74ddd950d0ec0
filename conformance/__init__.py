"""What the two protocols promise, asked over HTTP of our server and of the real ones alike.

    pytest conformance                                   a server of ours is started for the session
    pytest conformance/eureka --eureka http://host:8761  a server that runs already
    pytest conformance/eureka --eureka-kind real         the real server, started from conformance/peers/

A suite knows its server by URL and imports nothing of `facade`. Start reading in `eureka/test_8_1_addresses.py`.
"""
