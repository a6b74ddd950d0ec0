// A service on go-chassis, as its users write them; set by conf/*.yaml and by the environment.
//
// It proves what a whole program gets that registers, uploads its contract, follows providers by polling and by watch,
// and calls them by name and version. GET /seen/{service} tells what go-chassis holds of a service in memory, GET
// /call/{service} asks an instance of it for its version, as go-chassis' router and balancer choose.
package main

import (
	"io"
	"log"
	"net/http"

	chassis "github.com/go-chassis/go-chassis/v2"
	"github.com/go-chassis/go-chassis/v2/client/rest"
	"github.com/go-chassis/go-chassis/v2/core"
	"github.com/go-chassis/go-chassis/v2/core/registry"
	"github.com/go-chassis/go-chassis/v2/pkg/runtime"
	"github.com/go-chassis/go-chassis/v2/server/restful"
)

func main() {
	chassis.RegisterSchema("rest", &service{calls: core.NewRestInvoker()})
	if err := chassis.Init(); err != nil {
		log.Fatal(err)
	}
	if err := chassis.Run(); err != nil {
		log.Fatal(err)
	}
}

type service struct {
	calls *core.RestInvoker
}

// URLPatterns is where go-chassis reads the routes from.
func (s *service) URLPatterns() []restful.Route {
	return []restful.Route{
		{Method: http.MethodGet, Path: "/ready", ResourceFunc: s.version},
		{Method: http.MethodGet, Path: "/version", ResourceFunc: s.version},
		{Method: http.MethodGet, Path: "/seen/{service}", ResourceFunc: s.seen},
		{Method: http.MethodGet, Path: "/call/{service}", ResourceFunc: s.call},
	}
}

func (s *service) version(c *restful.Context) {
	answer(c, http.StatusOK, runtime.Version)
}

// seen makes go-chassis follow the service from its next refresh on, too.
func (s *service) seen(c *restful.Context) {
	name := c.ReadPathParameter("service")
	registry.AddProviderToCache(name, runtime.App)
	instances, _ := registry.MicroserviceInstanceIndex.Get(name, nil)
	endpoints := make([]string, 0, len(instances))
	for _, one := range instances {
		endpoints = append(endpoints, one.DefaultEndpoint)
	}
	_ = c.WriteHeaderAndJSON(http.StatusOK, endpoints, "application/json")
}

func (s *service) call(c *restful.Context) {
	request, err := rest.NewRequest(http.MethodGet, "http://"+c.ReadPathParameter("service")+"/version", nil)
	if err != nil {
		answer(c, http.StatusBadRequest, err.Error())
		return
	}
	response, err := s.calls.ContextDo(request.Context(), request)
	if err != nil {
		answer(c, http.StatusBadGateway, err.Error())
		return
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		answer(c, http.StatusBadGateway, err.Error())
		return
	}
	answer(c, response.StatusCode, string(text))
}

func answer(c *restful.Context, status int, text string) {
	c.AddHeader("Content-Type", "text/plain; charset=utf-8")
	c.WriteHeader(status)
	_ = c.Write([]byte(text))
}
