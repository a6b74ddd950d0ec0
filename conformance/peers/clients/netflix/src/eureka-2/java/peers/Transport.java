package peers;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.EurekaClientConfig;
import com.netflix.discovery.shared.transport.jersey3.Jersey3TransportClientFactories;

/** The client of the 2.x line, over Jersey 3. */
class Transport {
  static EurekaClient connect(ApplicationInfoManager manager, EurekaClientConfig config) {
    return new DiscoveryClient(manager, config, Jersey3TransportClientFactories.getInstance());
  }
}
