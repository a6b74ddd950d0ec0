package peers;

import java.util.List;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/**
 * A Spring Boot application on spring-cloud-huawei as its users write them.
 *
 * <p>It proves what a Spring program gets that registers with a ServiceCenter, finds others through Spring's discovery
 * client, and calls them by name through Spring's load balancer, without a configuration centre.
 */
@SpringBootApplication
@RestController
public class SpringCloudHuaweiClient {
  private final DiscoveryClient discovery;
  private final RestTemplate http;
  private final String version;

  SpringCloudHuaweiClient(
      DiscoveryClient discovery,
      RestTemplate http,
      @Value("${spring.cloud.servicecomb.service.version}") String version) {
    this.discovery = discovery;
    this.http = http;
    this.version = version;
  }

  public static void main(String[] args) {
    SpringApplication.run(SpringCloudHuaweiClient.class, args);
  }

  @GetMapping("/ready")
  String ready() {
    return "ready";
  }

  @GetMapping("/version")
  String version() {
    return version;
  }

  /** Asks an instance of the service, as the load balancer chooses, for its version. */
  @GetMapping("/call/{service}")
  ResponseEntity<String> call(@PathVariable String service) {
    try {
      return ResponseEntity.ok(http.getForObject("http://" + service + "/version", String.class));
    } catch (IllegalStateException none) {
      return ResponseEntity.status(502).body(none.getMessage());
    }
  }

  /** What the client holds of a service in memory. */
  @GetMapping("/seen/{service}")
  List<String> seen(@PathVariable String service) {
    return discovery.getInstances(service).stream().map(one -> one.getHost() + ":" + one.getPort()).toList();
  }
}

@Configuration
class Balanced {
  @Bean
  @LoadBalanced
  RestTemplate http() {
    return new RestTemplate();
  }
}
