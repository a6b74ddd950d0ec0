package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.shared.Application;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;

/** Netflix' own client on a clock of seconds: PORT URL APP. GET /seen/{app} tells what it holds of an application. */
public class NetflixClient {
  public static void main(String[] args) throws Exception {
    var instance = new Instance(Integer.parseInt(args[0]), args[2]);
    var manager = new ApplicationInfoManager(instance, new EurekaConfigBasedInstanceInfoProvider(instance).get());
    EurekaClient client = Transport.connect(manager, new Brisk(args[1]));
    manager.setInstanceStatus(InstanceStatus.UP);
    Runtime.getRuntime().addShutdownHook(new Thread(client::shutdown));
    serve(instance.getNonSecurePort(), client);
  }

  private static void serve(int port, EurekaClient client) throws IOException {
    var server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.createContext("/ready", exchange -> answer(exchange, Map.of()));
    server.createContext("/seen/", exchange -> answer(exchange, seen(client, lastWord(exchange))));
    server.start();
  }

  private static List<Map<String, Object>> seen(EurekaClient client, String app) {
    Application found = client.getApplication(app);
    return found == null ? List.of() : found.getInstances().stream().map(NetflixClient::shown).toList();
  }

  private static Map<String, Object> shown(InstanceInfo one) {
    return Map.of(
        "id", one.getInstanceId(), "host", one.getIPAddr(), "port", one.getPort(), "metadata", one.getMetadata());
  }

  private static String lastWord(HttpExchange exchange) {
    String path = exchange.getRequestURI().getPath();
    return path.substring(path.lastIndexOf('/') + 1);
  }

  private static void answer(HttpExchange exchange, Object value) throws IOException {
    byte[] body = new ObjectMapper().writeValueAsBytes(value);
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }
}

class Instance extends MyDataCenterInstanceConfig {
  private final int port;
  private final String app;

  Instance(int port, String app) {
    this.port = port;
    this.app = app;
  }

  @Override
  public String getInstanceId() {
    return "127.0.0.1:" + app + ":" + port;
  }

  @Override
  public String getAppname() {
    return app;
  }

  @Override
  public String getVirtualHostName() {
    return app;
  }

  @Override
  public String getSecureVirtualHostName() {
    return app;
  }

  @Override
  public String getHostName(boolean refresh) {
    return "127.0.0.1";
  }

  @Override
  public String getIpAddress() {
    return "127.0.0.1";
  }

  @Override
  public int getNonSecurePort() {
    return port;
  }

  @Override
  public int getLeaseRenewalIntervalInSeconds() {
    return 1;
  }

  @Override
  public int getLeaseExpirationDurationInSeconds() {
    return 10;
  }

  @Override
  public Map<String, String> getMetadataMap() {
    return Map.of("team", "blue & <green>");
  }
}

class Brisk extends DefaultEurekaClientConfig {
  private final String url;

  Brisk(String url) {
    this.url = url;
  }

  @Override
  public List<String> getEurekaServerServiceUrls(String zone) {
    return List.of(url);
  }

  @Override
  public int getRegistryFetchIntervalSeconds() {
    return 1;
  }

  @Override
  public int getInstanceInfoReplicationIntervalSeconds() {
    return 1;
  }

  @Override
  public int getInitialInstanceInfoReplicationIntervalSeconds() {
    return 1;
  }
}
