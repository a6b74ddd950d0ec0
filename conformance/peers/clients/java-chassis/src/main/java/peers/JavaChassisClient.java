package peers;

import org.apache.servicecomb.springboot2.starter.EnableServiceComb;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;

/**
 * A service on Java-Chassis 2 as its users write them, provider and consumer in one.
 *
 * <p>It proves what a whole program gets that registers itself and the contract of its schema, follows others by polling
 * and by watch, and calls them by name, with the contract that it reads from the registry.
 */
@SpringBootApplication
@EnableServiceComb
public class JavaChassisClient {
  public static void main(String[] args) {
    // Java-Chassis serves by itself.
    new SpringApplicationBuilder(JavaChassisClient.class).web(WebApplicationType.NONE).run(args);
  }
}
