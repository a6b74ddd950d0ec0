// eureka-js-client on a clock of seconds: PORT HOST PORT_OF_EUREKA APP [delta] [number-port] [tls].
// GET /seen/{app} tells what it holds of an application.
const http = require('http');
const { Eureka } = require('eureka-js-client');

const [port, eurekaHost, eurekaPort, app, ...options] = process.argv.slice(2);

const client = new Eureka({
  shouldUseDelta: options.includes('delta'),
  instance: {
    instanceId: `127.0.0.1:${app}:${port}`,
    app,
    hostName: '127.0.0.1',
    ipAddr: '127.0.0.1',
    port: options.includes('number-port') ? Number(port) : { $: Number(port), '@enabled': true },
    vipAddress: app,
    secureVipAddress: app,
    leaseInfo: { renewalIntervalInSecs: 1, durationInSecs: 10 },
    metadata: { team: 'blue & <green>' },
    dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
  },
  eureka: {
    host: eurekaHost,
    port: Number(eurekaPort),
    ssl: options.includes('tls'),
    servicePath: '/eureka/apps/',
    heartbeatInterval: 1000,
    registryFetchInterval: 1000,
    waitForRegistry: true,
  },
});

function seen(name) {
  return client.getInstancesByAppId(name.toUpperCase()).map((one) => ({
    id: one.instanceId, host: one.ipAddr, port: Number(one.port.$), metadata: one.metadata,
  }));
}

let looks = 0;
client.on('registryUpdated', () => { looks += 1; });

client.start((error) => {
  if (error) {
    console.log(`start failed: ${error.message || error}`);
    return;
  }
  console.log(`started after ${looks} looks`);
  http.createServer((request, response) => {
    response.end(JSON.stringify(request.url === '/ready' ? {} : seen(request.url.split('/').pop())));
  }).listen(Number(port), '127.0.0.1');
});

process.on('SIGTERM', () => client.stop((error) => {
  console.log(error ? `stop failed: ${error.message || error}` : 'stopped');
  process.exit(0);
}));
