// fargo on a clock of seconds: PORT URL APP xml|json. GET /seen/{app} asks for an application.
//
// fargo neither caches the registry nor registers again by itself; the program does what its users write around it.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hudl/fargo"
)

type seen struct {
	ID       string            `json:"id"`
	Host     string            `json:"host"`
	Port     int               `json:"port"`
	Metadata map[string]string `json:"metadata"`
}

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	eureka := fargo.NewConn(os.Args[2])
	eureka.UseJson = os.Args[4] == "json"
	instance := own(port, os.Args[3])
	if err := eureka.RegisterInstance(instance); err != nil {
		log.Fatalf("registration failed: %v", err)
	}
	log.Print("registered")
	go beat(&eureka, instance)
	go leaveAtSigterm(&eureka, instance)
	log.Fatal(serve(&eureka, instance))
}

func own(port int, app string) *fargo.Instance {
	return &fargo.Instance{
		InstanceId:       fmt.Sprintf("127.0.0.1:%s:%d", app, port),
		HostName:         "127.0.0.1",
		App:              app,
		IPAddr:           "127.0.0.1",
		VipAddress:       app,
		SecureVipAddress: app,
		Status:           fargo.UP,
		Port:             port,
		PortEnabled:      true,
		DataCenterInfo:   fargo.DataCenterInfo{Name: fargo.MyOwn},
		LeaseInfo:        fargo.LeaseInfo{RenewalIntervalInSecs: 1, DurationInSecs: 10},
	}
}

func beat(eureka *fargo.EurekaConnection, instance *fargo.Instance) {
	for range time.Tick(time.Second) {
		if err := eureka.HeartBeatInstance(instance); err != nil {
			log.Printf("heartbeat failed: %v; registering again: %v", err, eureka.ReregisterInstance(instance))
		}
	}
}

func leaveAtSigterm(eureka *fargo.EurekaConnection, instance *fargo.Instance) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	<-asked
	if err := eureka.DeregisterInstance(instance); err != nil {
		log.Fatalf("deregistration failed: %v", err)
	}
	os.Exit(0)
}

func serve(eureka *fargo.EurekaConnection, instance *fargo.Instance) error {
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("/seen/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, find(eureka, strings.TrimPrefix(r.URL.Path, "/seen/")))
	})
	http.HandleFunc("/apps", func(w http.ResponseWriter, _ *http.Request) {
		apps, err := eureka.GetApps()
		names := []string{}
		for name := range apps {
			names = append(names, name)
		}
		answer(w, map[string]any{"names": names, "error": text(err)})
	})
	http.HandleFunc("/register", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, text(eureka.RegisterInstance(instance)))
	})
	http.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) {
		answer(w, text(eureka.AddMetadataString(instance, r.FormValue("key"), r.FormValue("value"))))
	})
	return http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", instance.Port), nil)
}

func find(eureka *fargo.EurekaConnection, name string) []seen {
	found := []seen{}
	app, err := eureka.GetApp(strings.ToUpper(name))
	if _, gone := err.(fargo.AppNotFoundError); gone {
		return found
	} else if err != nil {
		log.Printf("failed to read %s: %v", name, err)
		return found
	}
	for _, one := range app.Instances {
		metadata := map[string]string{}
		for key := range one.Metadata.GetMap() {
			metadata[key], _ = one.Metadata.GetString(key)
		}
		found = append(found, seen{one.InstanceId, one.IPAddr, one.Port, metadata})
	}
	return found
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func answer(w http.ResponseWriter, value any) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}
