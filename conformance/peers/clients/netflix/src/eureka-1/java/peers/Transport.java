package peers;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.EurekaClientConfig;

/** The client of the 1.x line, over Jersey 1. */
class Transport {
  static EurekaClient connect(ApplicationInfoManager manager, EurekaClientConfig config) {
    return new DiscoveryClient(manager, config);
  }
}
