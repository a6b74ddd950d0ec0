package peers;

import java.util.List;
import org.apache.servicecomb.provider.rest.common.RestSchema;
import org.apache.servicecomb.provider.springmvc.reference.RestTemplateBuilder;
import org.apache.servicecomb.registry.DiscoveryManager;
import org.apache.servicecomb.registry.RegistrationManager;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RequestMapping;

/** What the service offers, and lets a test see. */
@RestSchema(schemaId = "peer")
@RequestMapping(path = "/")
public class Peer {
  @GetMapping("/ready")
  public String ready() {
    return "ready";
  }

  @GetMapping("/version")
  public String version() {
    return RegistrationManager.INSTANCE.getMicroservice().getVersion();
  }

  /** Asks an instance of the service, as Java-Chassis' balancer chooses, for its version. */
  @GetMapping("/call/{service}")
  public String call(@PathVariable("service") String service) {
    return RestTemplateBuilder.create().getForObject("cse://" + service + "/version", String.class);
  }

  /** What Java-Chassis holds of a service in memory; it follows the service from the first question on. */
  @GetMapping("/seen/{service}")
  public List<String> seen(@PathVariable("service") String service) {
    String app = RegistrationManager.INSTANCE.getMicroservice().getAppId();
    return DiscoveryManager.INSTANCE
        .getInstanceCacheManager()
        .getOrCreate(app, service, "0.0.0.0+")
        .getInstanceMap()
        .values()
        .stream()
        .flatMap(one -> one.getEndpoints().stream())
        .map(endpoint -> endpoint.replaceFirst("^[a-z]+://", "").replaceFirst("[/?].*", ""))
        .toList();
  }
}
