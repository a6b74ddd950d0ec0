package peers;

import java.util.List;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.env.Environment;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/** Spring Cloud's client, for each Boot that the profiles of the pom name. */
@SpringBootApplication
@RestController
public class SpringClient {
  private final DiscoveryClient discovery;
  private final RestTemplate http;
  private final Environment environment;

  SpringClient(DiscoveryClient discovery, RestTemplate http, Environment environment) {
    this.discovery = discovery;
    this.http = http;
    this.environment = environment;
  }

  public static void main(String[] args) {
    SpringApplication.run(SpringClient.class, args);
  }

  @GetMapping("/ready")
  String ready() {
    return "ready";
  }

  @GetMapping("/port")
  String port() {
    return environment.getProperty("server.port");
  }

  /** Asks an instance of the service, chosen by the load balancer, for its port. */
  @GetMapping("/call/{service}")
  ResponseEntity<String> call(@PathVariable String service) {
    try {
      return ResponseEntity.ok(http.getForObject("http://" + service + "/port", String.class));
    } catch (IllegalStateException none) {
      return ResponseEntity.status(502).body(none.getMessage());
    }
  }

  /** What this client holds of a service in memory. */
  @GetMapping("/seen/{service}")
  List<Map<String, Object>> seen(@PathVariable String service) {
    return discovery.getInstances(service).stream().map(SpringClient::shown).toList();
  }

  private static Map<String, Object> shown(ServiceInstance one) {
    return Map.of(
        "id", one.getInstanceId(), "host", one.getHost(), "port", one.getPort(), "metadata", one.getMetadata());
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
