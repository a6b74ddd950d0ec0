// The hello-server of the two-registries guide: a service on go-chassis, registered in a ServiceCenter, that finds
// account-server by name. It knows nothing of Eureka.
//
// It is set by conf/*.yaml and, as every go-chassis program, by the environment: PAAS_CSE_SC_ENDPOINT (the registry),
// servicecomb_service_app, servicecomb_protocols_rest_listenAddress.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	chassis "github.com/go-chassis/go-chassis/v2"
	"github.com/go-chassis/go-chassis/v2/client/rest"
	"github.com/go-chassis/go-chassis/v2/core"
	"github.com/go-chassis/go-chassis/v2/core/registry"
	"github.com/go-chassis/go-chassis/v2/pkg/runtime"
	"github.com/go-chassis/go-chassis/v2/server/restful"
)

const (
	provider  = "account-server"
	formLimit = 64 << 10 // bytes of a login form that are read
)

func main() {
	chassis.RegisterSchema("rest", &helloServer{calls: core.NewRestInvoker()})
	if err := chassis.Init(); err != nil {
		fail("init", err)
	}
	// go-chassis asks the registry only for providers it has called. With this it follows this one from the start, as the
	// guide's program does, and not from the first login on.
	registry.AddProviderToCache(provider, runtime.App)
	if err := chassis.Run(); err != nil {
		fail("run", err)
	}
}

func fail(doing string, err error) {
	fmt.Fprintf(os.Stderr, "hello-server: %s: %v\n", doing, err)
	os.Exit(1)
}

type helloServer struct {
	calls *core.RestInvoker
}

// URLPatterns is where go-chassis reads the routes from.
func (h *helloServer) URLPatterns() []restful.Route {
	return []restful.Route{
		{Method: http.MethodPost, Path: "/login", ResourceFunc: h.login},
		{Method: http.MethodGet, Path: "/checkHealth", ResourceFunc: h.checkHealth},
		{Method: http.MethodGet, Path: "/hello/{name}", ResourceFunc: h.hello},
		{Method: http.MethodGet, Path: "/seen/{service}", ResourceFunc: h.seen},
	}
}

// login hands the form to account-server, and its status and text back.
func (h *helloServer) login(c *restful.Context) {
	form, err := io.ReadAll(http.MaxBytesReader(c.ReadResponseWriter(), c.ReadRequest().Body, formLimit))
	if err != nil {
		answer(c, http.StatusBadRequest, fmt.Sprintf("the form could not be read: %v", err))
		return
	}
	status, text, err := h.post("/login", form)
	if err != nil {
		answer(c, http.StatusBadGateway, fmt.Sprintf("%s could not be called: %v", provider, err))
		return
	}
	answer(c, status, text)
}

// post calls the provider by its name; the registry and the balancer choose the instance.
func (h *helloServer) post(path string, form []byte) (status int, text string, err error) {
	request, err := rest.NewRequest(http.MethodPost, "http://"+provider+path, form)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := h.calls.ContextDo(request.Context(), request)
	if err != nil {
		return 0, "", err
	}
	if response == nil || response.Body == nil {
		return 0, "", errors.New("no answer")
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func (h *helloServer) checkHealth(c *restful.Context) {
	answer(c, http.StatusOK, "I am healthy")
}

func (h *helloServer) hello(c *restful.Context) {
	answer(c, http.StatusOK, "hello "+c.ReadPathParameter("name"))
}

// seen tells what go-chassis holds of a service in memory: what the next call would choose from. Asking makes go-chassis
// follow the service from its next refresh on.
func (h *helloServer) seen(c *restful.Context) {
	service := c.ReadPathParameter("service")
	registry.AddProviderToCache(service, runtime.App)
	instances, _ := registry.MicroserviceInstanceIndex.Get(service, nil)
	shown := make([]map[string]any, 0, len(instances))
	for _, one := range instances {
		shown = append(shown, map[string]any{
			"id": one.InstanceID, "uri": "http://" + one.DefaultEndpoint, "metadata": one.Metadata,
		})
	}
	_ = c.WriteHeaderAndJSON(http.StatusOK, shown, "application/json")
}

func answer(c *restful.Context, status int, text string) {
	c.AddHeader("Content-Type", "text/plain; charset=utf-8")
	c.WriteHeader(status)
	_ = c.Write([]byte(text))
}
